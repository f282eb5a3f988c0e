/** The wire of a connection whose first bytes are still to come: they choose among all others. */
import { isOneTooMany } from '../connection/admission.ts';
import type { Connection } from '../connection/connection.ts';
import { noteDeadline, noteRule } from '../connection/ending.ts';
import { dropConnection, endConnection } from '../connection/outbox.ts';
import type { Wire } from '../connection/wire.ts';
import { CloseCode } from '../protocol/codes.ts';

/**
 * @param wires those that may claim a connection by its first bytes, the most particular first; asked for each time, as
 *   they may come and go
 * @param otherwise HTTP, which looks itself whether there are too many connections; whose it is when none of them claims it, or the handshake's time is over
 * @param greeter likewise, whose it is when the peer waits to be spoken to, after `greetAfter`
 */
export function newFirstWire(wires: () => readonly Wire[], otherwise: Wire, greeter: () => Wire): Wire {
  function choose(connection: Connection, wire: Wire): void {
    const { maxConnections } = connection.server.configuration;
    connection.wire = wire;
    if (wire !== otherwise && isOneTooMany(connection.server)) {
      noteRule(connection, `there are ${maxConnections} connections already`, 'maxConnections');
      wire.close(connection, CloseCode.TryAgainLater, `there are ${maxConnections} connections already`);
    } else {
      wire.begin?.(connection);
    }
  }

  return {
    name: 'unknown',

    receive(connection, bytes, start, end) {
      for (const wire of wires()) {
        const claim = wire.matches?.(bytes, start, end);
        // It may still become this one: the next ones are not asked before that is known.
        if (claim === undefined) return start;
        if (claim) {
          choose(connection, wire);
          return start;
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
      const { handshakeTimeout, greetAfter } = configuration;
      const waited = now - connection.acceptedAt;
      const isSilent = connection.input === undefined;
      if (handshakeTimeout > 0 && waited >= handshakeTimeout) {
        // Whoever said something is told why it was not enough.
        if (isSilent) {
          noteDeadline(connection, 'nothing came', 'handshakeTimeout');
          dropConnection(connection);
        } else choose(connection, otherwise);
      } else if (isSilent && greetAfter > 0 && waited >= greetAfter) {
        choose(connection, greeter());
      }
    },
  };
}
