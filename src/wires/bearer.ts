/**
 * Routes for holders of a bearer token (RFC 6750 §2.1). A wrong token is refused ever more slowly, see access/guesses.ts.
 */
import { bearerToken, tokenInHead } from '../access/credentials.ts';
import {
  judgeToken,
  publisherOf,
  type TokenHolder,
  type Tokens,
  tooManyGuesses,
  unauthorized,
  wrongToken,
} from '../access/tokens.ts';
import { copyText } from '../options/text.ts';
import { ProtocolError } from '../protocol/codes.ts';
import type { Head } from '../protocol/http/head.ts';
import { checkOrigin } from '../protocol/http/origin.ts';
import type { Connection, Server } from '../records/records.ts';
import { httpState, type Route, refuseRequest } from './route.ts';

interface DelayedRefusal {
  readonly error: ProtocolError;
  /** When it is due, on the server's clock. */
  readonly at: number;
}

export interface TokenRule {
  readonly tokens: Tokens;
  /** @throws ProtocolError if the token is valid, but not for this request */
  isGranted(token: string, head: Head): boolean;
  /** The advice in the refusal of a wrong token. */
  readonly remedy: string;
}

/** The route, for requests that carry a granted token. All others are refused at their head. */
export function withToken(server: Server, { tokens, isGranted, remedy }: TokenRule, inner: Route): Route {
  const delayed = new WeakMap<Connection, DelayedRefusal>();

  /** @returns false: the request will be refused later. @throws ProtocolError to refuse it at once */
  function authorize(head: Head, connection: Connection): boolean {
    checkOrigin(head, server.configuration.origins);
    const given = bearerToken(head);
    if (given === undefined)
      throw unauthorized('a token is needed; send the header field "Authorization: Bearer TOKEN"');
    if (isGranted(given, head)) return true;
    const delay = judgeToken(tokens, connection);
    const error = wrongToken(remedy);
    if (delay === 0) throw error;
    delayed.set(connection, { error, at: server.now + delay });
    return false;
  }

  /** Whether a reload has replaced the token of an answer that has begun, which may have no end. */
  function isRevoked(connection: Connection): boolean {
    const { head, isBegun = false } = httpState(connection)?.request ?? {};
    const given = head && bearerToken(head);
    return isBegun && head !== undefined && given !== undefined && !isGranted(given, head);
  }

  function refuseNow(connection: Connection, { error }: DelayedRefusal): void {
    delayed.delete(connection);
    refuseRequest(connection, error);
  }

  return {
    ...inner,
    admit: (head, connection) => (authorize(head, connection) ? inner.admit(head, connection) : undefined),

    // The regular check of deadlines replaces a timer for each guess, so guesses stay cheap for the server.
    checkDeadlines(connection) {
      const refusal = delayed.get(connection);
      if (refusal !== undefined) {
        if (server.now >= refusal.at) refuseNow(connection, refusal);
      } else if (isRevoked(connection)) inner.close?.(connection, 'the token was replaced');
      else inner.checkDeadlines?.(connection);
    },

    close(connection, reason) {
      const refusal = delayed.get(connection);
      if (refusal !== undefined) refuseNow(connection, refusal);
      else if (inner.close !== undefined) inner.close(connection, reason);
      else refuseRequest(connection, new ProtocolError(503, reason));
    },
  };
}

export const publishRemedy = 'use the one in the file that --publish-token or --api-token names';

/**
 * Looks up the publisher whose token is in the head of a handshake.
 * @param isJwtJudged whether the caller checks tokens of users, which are JWTs
 * @returns the publisher at the time of a call, because a reload may revoke the token. Undefined without a token, and for the
 *   token of a user
 * @throws ProtocolError 401 or 429 for a wrong token. A handshake is not delayed, so 429 comes earlier than for other requests
 */
export function publisherOfHandshake(
  tokens: Tokens,
  head: Head,
  connection: Connection,
  isJwtJudged = false,
): (() => TokenHolder | undefined) | undefined {
  const given = tokenInHead(head);
  if (given === undefined) return undefined;
  if (publisherOf(tokens, given) !== undefined) {
    // A copy: the token is a part of the head.
    const token = copyText(given);
    return () => publisherOf(tokens, token);
  }
  // RFC 7515 §3.1: three parts.
  if (isJwtJudged && /^[\w-]+\.[\w-]*\.[\w-]+$/.test(given)) return undefined;
  throw judgeToken(tokens, connection) === 0 ? wrongToken(publishRemedy) : tooManyGuesses();
}
