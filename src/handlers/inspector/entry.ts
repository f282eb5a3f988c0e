/** The rules of entry to the inspector. */
import type { Tokens } from '../../access/tokens.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import type { Head } from '../../protocol/http/head.ts';
import { isOriginAdmitted, parseOrigin } from '../../protocol/http/origin.ts';
import { hostOf, isInNetwork, parseIp, parseNetwork } from '../../protocol/ipAddress.ts';
import { asksForWebSocket } from '../../protocol/websocket/handshake.ts';
import type { Connection } from '../../records/records.ts';

/** `granted`: the client needs no token. `token`: it needs the API token, for the reason `why`, a sentence. */
export type InspectorEntry = { readonly kind: 'granted' } | { readonly kind: 'token'; readonly why: string };

const granted: InspectorEntry = { kind: 'granted' };

/**
 * Judges a request for the page or its WebSocket.
 *
 * The inspector shows all traffic, so it is off without `--inspect`. On the control socket it is always on: the mode of the
 * socket's file is the authentication. A client without a token must be this server's page, in a browser on this machine:
 *
 * - The peer has a loopback address, so it is on this machine.
 * - The Host field names this machine. DNS rebinding points a foreign name at 127.0.0.1, but the browser still sends that name.
 * - The Origin field names the same host. A browser sends the true origin of every page that opens a WebSocket.
 * - No sign of a proxy: a proxy on this machine forwards the requests of strangers from a loopback address.
 *
 * All other clients send the API token in the first message.
 * @throws ProtocolError 403 if no token would help, 404 if the inspector is off
 */
export function judgeEntry(connection: Connection, head: Head, { api }: Tokens): InspectorEntry {
  const { isControl, server } = connection;
  if (isControl) return granted;
  const { inspect, origins } = server.configuration;
  if (!inspect) throw new ProtocolError(404, 'the inspector is off; start the server with --inspect');
  const why = remoteSign(connection, head);
  if (why === undefined) return granted;
  if (!isOriginAdmitted(head, ['same', ...origins]))
    throw new ProtocolError(403, 'pages of this origin may not open the inspector');
  if (api === undefined)
    throw new ProtocolError(
      403,
      `${why}; without --api-token, only pages on this machine may open the inspector`,
    );
  return { kind: 'token', why };
}

/** Fields that proxies add. nginx adds none by default, so Host and Origin must be local as well. */
const proxyField =
  /^(?:(?:x[-_])?forwarded(?:[-_].*)?|x[-_]original[-_].*|x[-_]envoy[-_].*|x[-_]real[-_]ip|.*[-_](?:client|connecting|proxyuser)[-_]?ip|cdn[-_]loop|via)$/;

/** The first sign that the client is not this server's page on this machine, a sentence; undefined if there is none. */
function remoteSign(connection: Connection, head: Head): string | undefined {
  const { server, isProxied, address, security } = connection;
  const { headers, target } = head;
  if (server.configuration.trustProxy.length > 0) return 'this server has a proxy in front (--trust-proxy)';
  if (isProxied) return 'a proxy sent a PROXY header';
  // RFC 9112 §3.2.2: only requests to proxies have the whole URL, whose host takes precedence over the Host field.
  if (!target.startsWith('/')) return 'the request line has a full URL, as for a proxy';
  for (const name of headers.keys()) if (proxyField.test(name)) return `a proxy added the field ${name}`;
  if (!isLoopback(address)) return 'the client has no loopback address';
  const host = headers.get('host') ?? '';
  if (!/^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i.test(host))
    return 'the host in the URL is not localhost, 127.0.0.1 or [::1]';
  const own = parseOrigin(`${security === undefined ? 'http' : 'https'}://${host}`);
  const origin = headers.get('origin');
  // A browser sends no Origin when it loads a page.
  if (origin === undefined && !asksForWebSocket(head)) return undefined;
  return own !== undefined && origin !== undefined && parseOrigin(origin) === own
    ? undefined
    : 'the request is not from a page of this server';
}

const loopback = ['127.0.0.0/8', '::1'].map(network => parseNetwork(network)!);

/** @param address as in logs */
function isLoopback(address: string): boolean {
  const ip = parseIp(hostOf(address));
  return ip !== undefined && loopback.some(network => isInNetwork(ip, network));
}
