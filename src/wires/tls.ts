/** TLS, told by its first two bytes: the loop puts it between the connection and its socket, and what is inside begins anew. */
import type { Connection } from '../core/connection.ts';
import { dropConnection, endConnection } from '../core/outbox.ts';
import { sendBytes } from '../core/send.ts';
import type { Wire } from '../core/wire.ts';
import { noteDeadline, noteEnding } from '../diagnostics/closeReason.ts';
import { log } from '../log/log.ts';
import type { Secure } from '../net/tls.ts';

/** RFC 8446 §5.1: a record of the handshake, of whatever version: they all begin with 3. */
const handshakeRecord = 0x16;
const recordVersion = 0x03;

/** RFC 8446 §6: an alert of level 2, fatal, 40: handshake_failure. */
const handshakeFailure = Buffer.of(0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28);

/** @param inside the wire of what is deciphered */
export function newTlsWire(secure: Secure, inside: Wire): Wire {
  const handshake = newHandshakeWire(inside);
  return {
    name: 'tls',
    isWrapper: true,

    matches(bytes, start, end, connection) {
      if (bytes[start] !== handshakeRecord || connection.security !== undefined) return false;
      return end - start < 2 ? undefined : bytes[start + 1] === recordVersion;
    },

    receive(connection, bytes, start, end) {
      if (secure(connection, bytes.subarray(start, end))) {
        connection.wire = handshake;
      } else {
        const why = 'it begins with TLS, and no certificate is configured (--tls-cert)';
        noteRefused(connection, why);
        noteEnding(connection, 'server', why);
        sendBytes(connection, handshakeFailure);
        endConnection(connection);
      }
      return end;
    },

    close: endConnection,
    onEnd: endConnection,
    checkDeadlines() {},
  };
}

/** Until the handshake is done there is nothing to be read or said. */
function newHandshakeWire(inside: Wire): Wire {
  function enter(connection: Connection): void {
    // It begins to be silent now.
    connection.stageSince = connection.server.now;
    connection.wire = inside;
    inside.begin?.(connection);
  }

  return {
    name: 'tls handshake',

    receive(connection, _bytes, start) {
      enter(connection);
      return start;
    },

    close: dropConnection,

    onEnd(connection, error) {
      if (connection.phase !== 'open') return;
      // A port scan or a health check may go no further than this.
      const isLeft = error === undefined || error === 'ECONNRESET';
      const how = error ?? 'the peer ended the connection';
      noteRefused(connection, `the handshake of TLS failed: ${how}`, isLeft ? 'debug' : 'info');
      endConnection(connection);
    },

    checkDeadlines(connection) {
      const { now, configuration } = connection.server;
      const { handshakeTimeout } = configuration;
      if (connection.security !== undefined) {
        enter(connection);
      } else if (handshakeTimeout > 0 && now - connection.acceptedAt >= handshakeTimeout) {
        noteRefused(connection, `no handshake of TLS within ${handshakeTimeout / 1000} s`);
        noteDeadline(connection, 'no handshake of TLS', 'handshakeTimeout');
        dropConnection(connection);
      }
    },
  };
}

function noteRefused(connection: Connection, reason: string, level: 'info' | 'debug' = 'info'): void {
  connection.server.counters.refused++;
  log(level, 'refused', { id: connection.id, address: connection.address, reason });
}
