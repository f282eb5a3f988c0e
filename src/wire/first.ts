/** The wire of a connection whose first bytes are still to come: they choose among all others. */
import { refusalOf, whyNotAdmitted } from '../connection/admission.ts';
import type { Connection } from '../connection/connection.ts';
import { noteDeadline, noteRule } from '../connection/ending.ts';
import { dropConnection, endConnection } from '../connection/outbox.ts';
import type { Wire } from '../connection/wire.ts';
import type { Configuration } from '../options/configuration.ts';
import { CloseCode, type ProtocolError } from '../protocol/codes.ts';
import { newProxyWire } from './proxy.ts';
import { newTlsWire, type Secure } from './tls.ts';

/** Some wires, as they are at the moment: those of modules come and go. */
export interface Wires {
  readonly wires: readonly Wire[];
}

/**
 * @param others those that may claim a connection by its first bytes, the most particular first
 * @param otherwise HTTP, which looks itself whether the connection is admitted; whose it is when none of them claims it, or the handshake's time is over
 * @param greeter likewise, whose it is when the peer waits to be spoken to, after `greetAfter`
 */
export function newFirstWire(
  others: readonly Wires[],
  otherwise: Wire,
  greeter: () => Wire,
  secure: Secure,
): Wire {
  function choose(connection: Connection, wire: Wire): void {
    connection.wire = wire;
    const isJudged = wire !== otherwise && !wire.isEnvelope;
    const why = isJudged ? (whyNotAdmitted(connection) ?? refusalOf(connection)) : undefined;
    if (why === undefined) {
      wire.begin?.(connection);
    } else {
      if (why.option !== undefined) noteRule(connection, why.message, why.option as keyof Configuration);
      wire.close(connection, codeOf(why), why.message);
    }
  }

  const first: Wire = {
    name: 'unknown',

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
      choose(connection, otherwise);
      return start;
    },

    isUrgent: () => false,
    close: endConnection,
    lost: endConnection,

    checkDeadlines(connection) {
      const { now, configuration } = connection.server;
      const { handshakeTimeout, greetAfter, tlsOnly } = configuration;
      const isSilent = connection.input === undefined;
      // A hello of TLS may come late, and a greeting in plain text would spoil it: where TLS is all there is, it is awaited.
      const mayGreet = greetAfter > 0 && (connection.security !== undefined || !tlsOnly);
      if (handshakeTimeout > 0 && now - connection.acceptedAt >= handshakeTimeout) {
        // Whoever said something is told why it was not enough.
        if (isSilent) {
          noteDeadline(connection, 'nothing came', 'handshakeTimeout');
          dropConnection(connection);
        } else choose(connection, otherwise);
      } else if (isSilent && mayGreet && now - connection.levelAt >= greetAfter) {
        choose(connection, greeter());
      }
    },
  };
  const all = [{ wires: [newProxyWire(first), newTlsWire(secure, first)] }, ...others];
  return first;
}

/** On wires that have no HTTP statuses. */
function codeOf({ code }: ProtocolError): number {
  return code === 429 || code === 503 ? CloseCode.TryAgainLater : CloseCode.PolicyViolation;
}
