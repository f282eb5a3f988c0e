/** The PROXY header, by which a proxy that `--trust-proxy` names says for whom it speaks. Then the connection begins anew. */
import { addressRefusal } from '../core/admission.ts';
import type { Connection } from '../core/connection.ts';
import { endConnection } from '../core/outbox.ts';
import { flattenString, hostOf, isTrusted, showPeer } from '../core/peer.ts';
import { changeAddress } from '../core/places.ts';
import type { Wire } from '../core/wire.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { isHost, splitList } from '../protocol/http/fields.ts';
import type { Head } from '../protocol/http/head.ts';
import { parseIp } from '../protocol/ipAddress.ts';
import { beginsProxyHeader, readProxyHeader } from '../protocol/proxyHeader.ts';
import { refuseRequest } from './route.ts';

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
        refuseRequest(connection, error);
        return end;
      }
    },

    close: endConnection,
    onEnd: endConnection,
    checkDeadlines: connection => behind.checkDeadlines(connection),
  };
}

/** The client's address and host, as a proxy gives them in the head of a request. */

/**
 * Each proxy adds the address that it was connected from to the end of `X-Forwarded-For`. So from the end on, what a
 * trusted proxy has added is true, and the first that is no trusted proxy itself is the client; all before it may be made
 * up.
 */
export function believeForwarded(connection: Connection, head: Head): void {
  believeForwardedHost(connection, head);
  const forwarded = head.headers.get('x-forwarded-for');
  if (forwarded === undefined) return;
  const hops = splitList(forwarded);
  for (let at = hops.length - 1; at >= 0; at--) {
    if (!isTrusted(connection)) return;
    const host = hostOf(hops[at]!);
    // Some add a port, some write `unknown`.
    if (parseIp(host) === undefined) return;
    changeAddress(connection, flattenString(hops[at]!));
  }
}

/** Proxies that add to this field, as Apache does, add to its end; hosts before the last may be made up. */
function believeForwardedHost(connection: Connection, head: Head): void {
  const forwarded = head.headers.get('x-forwarded-host');
  if (forwarded === undefined || !isTrusted(connection)) return;
  const host = splitList(forwarded).at(-1);
  if (host !== undefined && isHost(host)) head.forwardedHost = host;
}
