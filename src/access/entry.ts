/**
 * Identifies clients and decides their rights, by credentials, the app and the table of rights, for all ways into the server.
 *
 *     identify   the head of a request → its token or link → `connection.identity`, and a claim for the app
 *     authorize  the needed rights → allowed, refused, or decided again by the app's answer
 */
import { closeConnection, runIsolated } from '../core/close.ts';
import { forgetClient } from '../core/connection.ts';
import { noteEnding } from '../diagnostics/closeReason.ts';
import { maxQueuedRechecks } from '../protocol/accessLimits.ts';
import { closeCodeFor, ProtocolError } from '../protocol/codes.ts';
import { checkCrossSite, sendsAmbientCredentials } from '../protocol/http/crossSite.ts';
import type { Head } from '../protocol/http/head.ts';
import { redact } from '../protocol/http/redact.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Entry } from '../records/entry.ts';
import type { Claim, Need } from '../records/identity.ts';
import type { Connection, Server } from '../records/records.ts';
import { openAccess } from './access.ts';
import { type App, type AppQuestion, askApp, forgetUser, hasApp, openApp } from './app.ts';
import type { AppAnswer } from './appReply.ts';
import { readCredentials, tokenInHead } from './credentials.ts';
import { verifyToken } from './jwt.ts';
import type { Access, Credentials, Decision } from './records.ts';
import { decideNeed } from './rights.ts';
import { publisherOf, type Tokens } from './tokens.ts';

/** Reads the table of rights, the keys and the address of the app, now and at every reload. @throws UsageError */
export function openEntry(server: Server, tokens: Tokens): Entry {
  return newEntry(server, openAccess(server), openApp(server), tokens);
}

export function newEntry(server: Server, access: Access, app: App, tokens: Tokens): Entry {
  function identify(connection: Connection, head: Head): void {
    forgetClient(connection);
    const { origins } = server.configuration;
    const { identity, fault, byCookie } = credentialsOf(head);
    const isExplicit = !byCookie && (identity ?? fault) !== undefined;
    // Browsers also send cookies with requests of other sites' pages, where they do not count.
    const isAmbient = !isExplicit && sendsAmbientCredentials(head);
    const foreign = isAmbient ? checkCrossSite(head, origins) : undefined;
    if (foreign === undefined) connection.identity = identity;
    const error = foreign ?? (fault === undefined ? undefined : notIdentified(fault));
    if (error === undefined && !hasApp(app)) return;
    connection.claim = claimOf(head, error, isExplicit && fault !== undefined);
  }

  function credentialsOf(head: Head): Credentials {
    const found = readCredentials(access, head, Date.now());
    if (found.fault === undefined || found.byCookie) return found;
    // The API token and the publish token are no JWTs, and belong to no user.
    const isPublisher = publisherOf(tokens, tokenInHead(head) ?? '') !== undefined;
    return isPublisher ? { byCookie: false } : found;
  }

  function claimOf({ headers, target }: Head, fault: ProtocolError | undefined, isRefused: boolean): Claim {
    const isAsked = hasApp(app);
    return {
      cookie: isAsked ? headers.get('cookie') : undefined,
      authorization: isAsked ? headers.get('authorization') : undefined,
      origin: headers.get('origin'),
      uri: redact(target),
      fault,
      isRefused,
      connect: undefined,
      checkedAt: server.now,
      cancel: undefined,
    };
  }

  /** The index in the table of the connection that `recheck` looked at last. */
  let rechecked = 0;

  const mustAsk = Symbol('the app decides');

  /** @param mayAsk whether the app may be asked */
  function judge(
    { identity, claim }: Connection,
    needs: readonly Need[],
    mayAsk: boolean,
  ): ProtocolError | typeof mustAsk | undefined {
    workUnits.spent += 1 + ((needs.length * access.rules.length) >>> 3);
    if (claim?.fault !== undefined && claim.isRefused) return claim.fault;
    for (const need of needs) {
      const decision = decideNeed(access, need, identity);
      if (decision.isAllowed) continue;
      const couldChange = decision.needsIdentity || (decision.who === 'token' && identity?.means === 'app');
      if (!couldChange || claim === undefined) return refusalOf(decision);
      if (claim.fault !== undefined) return withRule(claim.fault, decision);
      return mayAsk && hasApp(app) ? mustAsk : refusalOf(decision);
    }
    return undefined;
  }

  function askAgain(connection: Connection, claim: Claim, needs: readonly Need[]): void {
    claim.checkedAt = server.now;
    const cancel = askApp(app, questionOf(connection, claim, needs), answer => {
      if (claim.cancel === cancel) claim.cancel = undefined;
      if (connection.phase !== 'open' || connection.claim !== claim) return;
      // An app that is down signs no user out.
      if (answer.kind === 'failed') return;
      const refusal =
        answer.kind === 'anonymous'
          ? notIdentified('you are signed out')
          : (applyAnswer(connection, answer) ?? judge(connection, needs, false));
      if (refusal === undefined || refusal === mustAsk) return;
      noteEnding(connection, 'server', `the app was asked again: ${refusal.message} (--auth-recheck)`);
      const code = closeCodeFor(refusal.code);
      runIsolated(connection, () => closeConnection(connection, code, refusal.message));
    });
    claim.cancel = cancel;
  }

  return {
    isOn: () =>
      access.rules.length > 0 ||
      access.keys.length > 0 ||
      hasApp(app) ||
      server.configuration.nick === 'user',
    takesTokens: () => access.keys.length > 0,
    isForCommands: (need, identity) => decideNeed(access, need, identity).who === 'commands',
    allows: ({ identity }, need) => decideNeed(access, need, identity).isAllowed,
    identify,
    recheck(needsOf) {
      const { authRecheck } = server.configuration;
      if (authRecheck === 0 || !hasApp(app)) return;
      const { entries } = server.table;
      for (let count = 0; count < entries.length && app.queue.count < maxQueuedRechecks; count++) {
        // Goes on behind the last one, so that a slow app is asked about each connection in turn.
        rechecked = (rechecked + 1) % entries.length;
        const entry = entries[rechecked];
        if (entry?.kind !== 'connection' || entry.phase !== 'open') continue;
        const { identity, claim } = entry;
        if (identity?.means !== 'app' || claim === undefined || claim.cancel !== undefined) continue;
        if (server.now - claim.checkedAt < authRecheck) continue;
        askAgain(entry, claim, [...(claim.connect === undefined ? [] : [claim.connect]), ...needsOf(entry)]);
      }
    },
    forgetUser: user => forgetUser(app, user),

    identifyByToken(connection, token) {
      const { identity: found, fault } = verifyToken(access, token, Date.now());
      if (found === undefined) return fault;
      const { identity } = connection;
      if (identity !== undefined && identity.user !== found.user)
        return 'this token is for another user; connect again';
      connection.identity = found;
      return undefined;
    },

    authorize(connection, needs, decided) {
      if (connection.claim !== undefined) connection.claim.connect ??= needs.find(opensHandler);
      const verdict = judge(connection, needs, true);
      if (verdict !== mustAsk) {
        decided(verdict);
        return true;
      }
      const claim = connection.claim!;
      claim.cancel = askApp(app, questionOf(connection, claim, needs), answer => {
        claim.cancel = undefined;
        const refusal = applyAnswer(connection, answer);
        decided(refusal ?? (judge(connection, needs, false) as ProtocolError | undefined));
      });
      return false;
    },
  };
}

function opensHandler({ right, channel }: Need): boolean {
  return right === 'connect' && channel === undefined;
}

function questionOf({ address }: Connection, claim: Claim, needs: readonly Need[]): AppQuestion {
  const { cookie, authorization, origin, uri } = claim;
  const channels = [...new Set(needs.flatMap(({ channel }) => channel ?? []))];
  return { cookie, authorization, origin, uri, address, channels };
}

/** Applies an answer of the app. @returns a refusal that no rule can change */
function applyAnswer(connection: Connection, answer: AppAnswer): ProtocolError | undefined {
  switch (answer.kind) {
    case 'user': {
      const { identity } = connection;
      if (identity !== undefined && identity.user !== answer.identity.user)
        return notIdentified('you are signed in as another user now; connect again');
      connection.identity = answer.identity;
      return undefined;
    }
    case 'anonymous':
      return undefined;
    case 'refused':
      return new ProtocolError(403, 'the site does not allow this', {}, 'authUrl');
    case 'failed':
      return new ProtocolError(503, 'the site cannot identify you now; try again later', {}, 'authUrl', {
        app: answer.why,
      });
  }
}

function refusalOf({ refusal, rule, sentence }: Decision): ProtocolError {
  const details = { rule };
  return refusal === 'identify'
    ? notIdentified(sentence, details)
    : new ProtocolError(403, sentence, {}, undefined, details);
}

/** RFC 9110 §15.5.2: a 401 has a challenge. */
function notIdentified(sentence: string, details: Readonly<Record<string, string>> = {}): ProtocolError {
  return new ProtocolError(
    401,
    sentence,
    { 'WWW-Authenticate': 'Bearer realm="pollywog"' },
    undefined,
    details,
  );
}

function withRule({ code, message, headers, option }: ProtocolError, { rule }: Decision): ProtocolError {
  return new ProtocolError(code, message, headers, option, { rule });
}
