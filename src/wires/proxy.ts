/**
 * Client addresses that a trusted proxy (`--trust-proxy`) reports: in a PROXY header before everything else, or in the
 * header fields `X-Forwarded-For` and `X-Forwarded-Host` of an HTTP request.
 */

import { addressRefusal } from '../core/admission.ts';
import { endConnection } from '../core/close.ts';
import { changeAddress, isTrusted } from '../core/places.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { isHost, splitList } from '../protocol/http/fields.ts';
import type { Head } from '../protocol/http/head.ts';
import { flattenString, hostOf, parseIp, showPeer } from '../protocol/ipAddress.ts';
import { beginsProxyHeader, readProxyHeader } from '../protocol/proxyHeader.ts';
import type { Connection, Wire } from '../records/records.ts';
import { refuseRequest } from './route.ts';

/**
 * The wire of the PROXY header (HAProxy, versions 1 and 2).
 * @param next the wire that gets the bytes after the header
 */
export function newProxyWire(next: Wire): Wire {
  return {
    name: 'proxy',
    isWrapper: true,

    matches(bytes, start, end, connection) {
      // A second PROXY header would be forged by the client.
      if (connection.isProxied || connection.security !== undefined) return false;
      const claim = beginsProxyHeader(bytes, start, end);
      // `receive` refuses a whole header from an untrusted peer; the rest of a partial one is not awaited.
      return claim ?? (isTrusted(connection) ? undefined : false);
    },

    receive(connection, bytes, start, end) {
      try {
        if (!isTrusted(connection)) {
          throw new ProtocolError(
            403,
            'PROXY headers are accepted from trusted proxies only',
            {},
            'trustProxy',
          );
        }
        const header = readProxyHeader(bytes, start, end);
        if (header === undefined) return start;
        const { source } = header;
        if (source !== undefined) changeAddress(connection, showPeer(source.address, source.port));
        connection.isProxied = true;
        const crowded = addressRefusal(connection);
        if (crowded !== undefined) throw crowded;
        connection.wire = next;
        next.begin?.(connection);
        return header.end;
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refuseRequest(connection, error);
        return end;
      }
    },

    close: endConnection,
    onEnd: endConnection,
    checkDeadlines: connection => next.checkDeadlines(connection),
  };
}

/**
 * Takes the client's address and host from the fields of a trusted proxy.
 *
 * Each proxy appends its peer's address to `X-Forwarded-For`. Read from the end, the first address that is not a trusted
 * proxy is the client's; the client may have forged everything before it.
 */
export function applyForwarded(connection: Connection, head: Head): void {
  applyForwardedHost(connection, head);
  const forwarded = head.headers.get('x-forwarded-for');
  if (forwarded === undefined || !isTrusted(connection)) return;
  const hops = splitList(forwarded);
  for (let at = hops.length - 1; at >= 0; at--) {
    if (!isTrusted(connection)) return;
    const host = hostOf(hops[at]!);
    // Some proxies add a port, others write `unknown`.
    if (parseIp(host) === undefined) return;
    changeAddress(connection, flattenString(hops[at]!));
  }
}

/** Apache appends to this field; the client may have forged all hosts but the last. */
function applyForwardedHost(connection: Connection, head: Head): void {
  const forwarded = head.headers.get('x-forwarded-host');
  if (forwarded === undefined || !isTrusted(connection)) return;
  const host = splitList(forwarded).at(-1);
  if (host !== undefined && isHost(host)) head.forwardedHost = host;
}
