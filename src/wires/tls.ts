/** Detects TLS by its first two bytes, puts a TLS socket under the connection, and detects the wire inside it anew. */

import { logForAddress } from '../core/addressLog.ts';
import { dropConnection, endConnection } from '../core/close.ts';
import { sendBytes } from '../core/send.ts';
import { noteDeadline, noteEnding } from '../diagnostics/closeReason.ts';
import { countRefused } from '../diagnostics/metrics.ts';
import type { Secure } from '../net/tls.ts';
import { handshakeRecord, isClientHelloWhole } from '../protocol/clientHello.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { tlsHandshakeCost } from '../protocol/tlsLimits.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Connection, Wire } from '../records/records.ts';

/** RFC 8446 §5.1: the major version, which is 3 in every version of TLS. */
const recordVersion = 0x03;

/** RFC 8446 §6: a fatal alert (level 2), handshake_failure (40). */
const handshakeFailure = Buffer.of(0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28);

/** Explanations of OpenSSL's most common reasons. */
const meanings: readonly (readonly [reason: RegExp, meaning: string])[] = [
  [/alert (?:unknown ca|certificate unknown|bad certificate)/, 'the client does not trust the certificate'],
  [
    /no application protocol/,
    'the client does not offer HTTP/1.1 in ALPN, only other protocols such as HTTP/2',
  ],
];

/** @param inside the wire of the decrypted bytes */
export function newTlsWire(secure: Secure, inside: Wire): Wire {
  const handshake = newHandshakeWire(inside);
  return {
    ...handshake,
    name: 'tls',
    isWrapper: true,

    matches(bytes, start, end, connection) {
      if (bytes[start] !== handshakeRecord || connection.security !== undefined) return false;
      return end - start < 2 ? undefined : bytes[start + 1] === recordVersion;
    },

    receive(connection, bytes, start, end) {
      if (!secure.isPossible(connection)) {
        refuse(connection, 'the client speaks TLS, but no certificate is configured (--tls-cert)');
        return end;
      }
      // The bytes are searched again with each piece that arrives, and a record may have a single byte.
      workUnits.spent += (end - start) >>> 6;
      try {
        if (!isClientHelloWhole(bytes, start, end)) return start;
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refuse(connection, `the TLS handshake failed: ${error.message}`);
        return end;
      }
      workUnits.spent += tlsHandshakeCost;
      // RFC 6455 §10.6 [4.2.2-2, 10.6-1]: after the TLS handshake, all data is encrypted.
      if (secure.begin(connection, bytes.subarray(start, end))) connection.wire = handshake;
      return end;
    },
  };
}

function refuse(connection: Connection, why: string): void {
  noteRefused(connection, why);
  noteEnding(connection, 'server', why, { cause: 'refused' });
  sendBytes(connection, handshakeFailure);
  endConnection(connection);
}

/** The wire of a connection during the TLS handshake, from the whole ClientHello on: no decrypted bytes arrive before its end. */
function newHandshakeWire(inside: Wire): Wire {
  function enter(connection: Connection): void {
    // The time that a silent peer has starts now.
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
      // Port scans and health checks leave here; they are logged at debug level.
      const hasLeft = error === undefined || error === 'ECONNRESET';
      const how = error ?? 'the peer closed the connection';
      const meaning = meanings.find(([reason]) => reason.test(how))?.[1];
      const why = meaning === undefined ? how : `${how}; ${meaning}`;
      noteRefused(connection, `the TLS handshake failed: ${why}`, hasLeft ? 'debug' : 'info');
      endConnection(connection);
    },

    checkDeadlines(connection) {
      const { now, configuration } = connection.server;
      const { handshakeTimeout } = configuration;
      if (connection.security !== undefined) {
        enter(connection);
      } else if (handshakeTimeout > 0 && now - connection.acceptedAt >= handshakeTimeout) {
        noteRefused(connection, `no TLS handshake within ${handshakeTimeout / 1000} s`);
        noteDeadline(connection, 'no TLS handshake', 'handshakeTimeout');
        dropConnection(connection);
      }
    },
  };
}

function noteRefused(connection: Connection, reason: string, level: 'info' | 'debug' = 'info'): void {
  countRefused(connection.server, 'tls_handshake');
  logForAddress(connection, level, 'refused', { id: connection.id, address: connection.address, reason });
}
