/** The client's address and host, as a proxy gives them in the head of a request. */
import type { Connection } from '../core/connection.ts';
import { flattenString, hostOf, isTrusted } from '../core/peer.ts';
import { changeAddress } from '../core/places.ts';
import { isHost, splitList } from '../protocol/http/fields.ts';
import type { Head } from '../protocol/http/head.ts';
import { parseIp } from '../protocol/ipAddress.ts';

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
