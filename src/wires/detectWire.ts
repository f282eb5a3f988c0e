/** The wire of a connection whose first bytes are still to come: they choose among all others. */
import { refusalOf, whyNotAdmitted } from '../core/admission.ts';
import type { Connection } from '../core/connection.ts';
import { dropConnection, endConnection } from '../core/outbox.ts';
import { isTrusted } from '../core/peer.ts';
import type { Wire } from '../core/wire.ts';
import { noteDeadline, noteRule } from '../diagnostics/closeReason.ts';
import type { Secure } from '../net/tls.ts';
import type { Configuration } from '../options/configuration.ts';
import { CloseCode, type ProtocolError } from '../protocol/codes.ts';
import { proxyHeaderTimeout } from '../protocol/limits.ts';
import { newProxyWire } from './proxy.ts';
import { newTlsWire } from './tls.ts';

/** Some wires, as they are at the moment: those of modules come and go. */
export interface Wires {
  readonly wires: readonly Wire[];
}

/** Who speaks before the peer has said anything. */
export interface Greeting {
  /** The wire that does; undefined if no wire does at the moment. */
  readonly wire: () => Wire | undefined;
  /** The connections of this listener are its own: it greets them at once, and no other wire is asked. */
  readonly isAtOnce: boolean;
}

/**
 * @param others those that may claim a connection by its first bytes, the most particular first
 * @param otherwise HTTP, which checks admission itself. It gets connections that no other wire claims, or not in time
 */
export function newDetectWire(
  others: readonly Wires[],
  otherwise: Wire,
  greeting: Greeting,
  secure: Secure,
): Wire {
  function choose(connection: Connection, wire: Wire): void {
    connection.wire = wire;
    const isJudged = wire !== otherwise && !wire.isWrapper;
    const why = isJudged ? (whyNotAdmitted(connection) ?? refusalOf(connection)) : undefined;
    if (why === undefined) {
      wire.begin?.(connection);
    } else {
      if (why.option !== undefined) noteRule(connection, why.message, why.option as keyof Configuration);
      wire.close(connection, codeOf(why), why.message);
    }
  }

  /** Whether the peer may still have to say something before it can be spoken to: its TLS hello, its proxy's header. */
  function isEnvelopeDue(connection: Connection): boolean {
    const { security, isProxied, server, stageSince } = connection;
    if (security !== undefined) return false;
    if (server.configuration.tlsOnly) return true;
    return !isProxied && isTrusted(connection) && server.now - stageSince < proxyHeaderTimeout;
  }

  function greet(connection: Connection): void {
    const wire = greeting.wire();
    if (wire !== undefined && !isEnvelopeDue(connection)) choose(connection, wire);
  }

  const first: Wire = {
    name: 'unknown',

    ...(greeting.isAtOnce ? { begin: greet } : {}),

    receive(connection, bytes, start, end) {
      for (const { wires } of all) {
        for (const wire of wires) {
          const claim = wire.matches?.(bytes, start, end, connection);
          // It may still become this one: the next ones are not asked before that is known.
          if (claim === undefined) return start;
          if (claim) {
            choose(connection, wire);
            return start;
          }
        }
      }
      choose(connection, (greeting.isAtOnce ? greeting.wire() : undefined) ?? otherwise);
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
        // A peer that has sent something gets the reason why that was not enough.
        if (isSilent) {
          noteDeadline(connection, 'nothing came', 'handshakeTimeout');
          dropConnection(connection);
        } else choose(connection, otherwise);
      } else if (isSilent && (greeting.isAtOnce || (greetingDelay > 0 && silence >= greetingDelay))) {
        greet(connection);
      }
    },
  };
  const envelopes = { wires: [newProxyWire(first), newTlsWire(secure, first)] };
  const all = greeting.isAtOnce ? [envelopes] : [envelopes, ...others];
  return first;
}

/** On wires that have no HTTP statuses. */
function codeOf({ code }: ProtocolError): number {
  return code === 429 || code === 503 ? CloseCode.TryAgainLater : CloseCode.PolicyViolation;
}
