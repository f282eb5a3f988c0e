/** The PROXY header, by which a proxy that `--trust-proxy` names says for whom it speaks. Then the connection begins anew. */
import { addressRefusal } from '../core/admission.ts';
import { endConnection } from '../core/outbox.ts';
import { isTrusted, showPeer } from '../core/peer.ts';
import { changeAddress } from '../core/places.ts';
import type { Wire } from '../core/wire.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { beginsProxyHeader, readProxyHeader } from '../protocol/proxyHeader.ts';
import { refuse } from './http.ts';

/** @param behind the wire of what comes after the header */
export function newProxyWire(behind: Wire): Wire {
  return {
    name: 'proxy',
    isWrapper: true,

    matches(bytes, start, end, connection) {
      // One header only: the next one is the client's.
      if (connection.isProxied || connection.security !== undefined) return false;
      const claim = beginsProxyHeader(bytes, start, end);
      // From others it is refused as soon as it is there, but nobody waits whether it comes.
      return claim ?? (isTrusted(connection) ? undefined : false);
    },

    receive(connection, bytes, start, end) {
      try {
        if (!isTrusted(connection)) {
          throw new ProtocolError(403, 'a PROXY header is taken from trusted proxies only', {}, 'trustProxy');
        }
        const header = readProxyHeader(bytes, start, end);
        if (header === undefined) return start;
        const { source } = header;
        if (source !== undefined) changeAddress(connection, showPeer(source.address, source.port));
        connection.isProxied = true;
        const crowded = addressRefusal(connection);
        if (crowded !== undefined) throw crowded;
        connection.wire = behind;
        behind.begin?.(connection);
        return header.end;
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refuse(connection, error);
        return end;
      }
    },

    isUrgent: () => false,
    close: endConnection,
    onEnd: endConnection,
    checkDeadlines: connection => behind.checkDeadlines(connection),
  };
}
