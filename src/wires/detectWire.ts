/** The first wire of every connection. The first bytes decide which wire replaces it. */

import { logForAddress } from '../core/addressLog.ts';
import { admissionRefusal, becomeClientOrRefusal, connectRateRefusal } from '../core/admission.ts';
import { dropConnection, endConnection } from '../core/close.ts';
import { isTrusted } from '../core/places.ts';
import { noteDeadline, noteEnding, noteRule } from '../diagnostics/closeReason.ts';
import { countRefused } from '../diagnostics/metrics.ts';
import type { Secure } from '../net/tls.ts';
import type { Configuration } from '../options/configuration.ts';
import { CloseCode, type ProtocolError } from '../protocol/codes.ts';
import { proxyHeaderTimeout } from '../protocol/limits.ts';
import type { Entry } from '../records/entry.ts';
import type { Connection, Wire } from '../records/records.ts';
import { newProxyWire } from './proxy.ts';
import { ruleOf } from './route.ts';
import { newTlsWire } from './tls.ts';

/** A list of wires that is read again each time: modules add and remove theirs while the server runs. */
interface WireList {
  readonly wires: readonly Wire[];
}

/** Which wire, if any, speaks before the peer does. */
interface Greeting {
  /** The wire that greets; undefined if no wire does at the moment. */
  readonly wire: () => Wire | undefined;
  /** Whether that wire has this listener to itself: it greets at once, and no other wire is asked. */
  readonly isImmediate: boolean;
}

/**
 * @param candidates wires that may claim a connection by its first bytes, the most specific first
 * @param entry checks the client's rights; without it, every client may use every wire
 * @param fallback HTTP, which checks admission itself; it gets each connection that no wire claims in time
 */
export function newDetectWire(
  candidates: readonly WireList[],
  fallback: Wire,
  greeting: Greeting,
  secure: Secure,
  entry?: Entry,
): Wire {
  function choose(connection: Connection, wire: Wire): void {
    connection.wire = wire;
    // HTTP checks admission itself; a wrapper leaves that to the wire inside it.
    const skipsCheck = wire === fallback || wire.isWrapper === true;
    const why = skipsCheck
      ? undefined
      : (admissionRefusal(connection) ??
        connectRateRefusal(connection) ??
        rightsRefusal(entry, connection, wire) ??
        becomeClientOrRefusal(connection));
    if (why === undefined) {
      wire.begin?.(connection);
    } else {
      if (why.option !== undefined) noteRule(connection, why.message, why.option as keyof Configuration);
      wire.close(connection, codeOf(why), why.message);
    }
  }

  /** Whether a greeting must wait for a TLS ClientHello or a PROXY header, which the client sends first. */
  function mustAwaitWrapper(connection: Connection): boolean {
    const { security, isProxied, server, stageSince } = connection;
    if (security !== undefined) return false;
    if (server.configuration.tlsOnly) return true;
    return !isProxied && isTrusted(connection) && server.now - stageSince < proxyHeaderTimeout;
  }

  function greet(connection: Connection): void {
    const wire = greeting.wire();
    if (wire !== undefined && !mustAwaitWrapper(connection)) choose(connection, wire);
  }

  const detect: Wire = {
    name: 'unknown',

    ...(greeting.isImmediate ? { begin: greet } : {}),

    receive(connection, bytes, start, end) {
      for (const { wires } of all) {
        for (const wire of wires) {
          const claim = wire.matches?.(bytes, start, end, connection);
          // Undecided: a later wire is asked only when this one has declined.
          if (claim === undefined) return start;
          if (claim) {
            choose(connection, wire);
            return start;
          }
        }
      }
      choose(connection, (greeting.isImmediate ? greeting.wire() : undefined) ?? fallback);
      return start;
    },

    close: endConnection,
    onEnd: endConnection,

    checkDeadlines(connection) {
      const { now, configuration } = connection.server;
      const { handshakeTimeout, greetingDelay } = configuration;
      const isSilent = connection.input === undefined;
      const silence = now - connection.stageSince;
      if (handshakeTimeout > 0 && now - connection.acceptedAt >= handshakeTimeout) {
        // A peer that has sent part of something gets an HTTP answer with the reason.
        if (isSilent) {
          noteDeadline(connection, 'nothing arrived', 'handshakeTimeout');
          dropConnection(connection);
        } else choose(connection, fallback);
      } else if (isSilent && (greeting.isImmediate || (greetingDelay > 0 && silence >= greetingDelay))) {
        greet(connection);
      }
    },
  };
  const wrappers = { wires: [newProxyWire(detect), newTlsWire(secure, detect)] };
  const all = greeting.isImmediate ? [wrappers] : [wrappers, ...candidates];
  return detect;
}

/** @returns the refusal, if the table of rights does not let the client use this wire */
function rightsRefusal(
  entry: Entry | undefined,
  connection: Connection,
  wire: Wire,
): ProtocolError | undefined {
  if (entry?.isOn() !== true || wire.need === undefined) return undefined;
  let refusal: ProtocolError | undefined;
  // `authorize` decides at once: the app is asked only about requests.
  entry.authorize(connection, [wire.need()], decided => {
    refusal = decided;
  });
  if (refusal === undefined) return undefined;
  const { id, address, server } = connection;
  const { code: status, message: reason, details } = refusal;
  countRefused(server, `status_${status}`);
  logForAddress(connection, 'info', 'refused', { id, address, wire: wire.name, status, reason, ...details });
  noteEnding(connection, 'server', `the connection was refused: ${reason}${ruleOf(refusal)}`);
  return refusal;
}

/** The WebSocket close code for an HTTP status; wires other than HTTP close with one. */
function codeOf({ code }: ProtocolError): number {
  return code === 429 || code === 503 ? CloseCode.TryAgainLater : CloseCode.PolicyViolation;
}
