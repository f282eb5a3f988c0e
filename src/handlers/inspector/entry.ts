/** Who may open the inspector: the one place of its rules. */
import type { Tokens } from '../../access/tokens.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import type { Head } from '../../protocol/http/head.ts';
import { isOriginAdmitted, parseOrigin } from '../../protocol/http/origin.ts';
import { hostOf, isInNetwork, parseIp, parseNetwork } from '../../protocol/ipAddress.ts';
import { asksForWebSocket } from '../../protocol/websocket/handshake.ts';
import type { Connection } from '../../records/records.ts';

/** `granted`: no token is needed. `token`: only with the API token, because of `why`, a sentence. */
export type InspectorEntry = { readonly kind: 'granted' } | { readonly kind: 'token'; readonly why: string };

const granted: InspectorEntry = { kind: 'granted' };

/**
 * Decides about a request for the page or its WebSocket.
 *
 * The inspector shows all traffic, so it is off without `--inspect`. The control socket always has it: the mode of the socket's
 * file is the authentication. Without a token, both ends must be on this machine and the page must be this server's own:
 *
 * - The peer's address is a loopback address: no other machine connects.
 * - The Host field names this machine. DNS rebinding leads a foreign name to 127.0.0.1, but the browser sends that name.
 * - The Origin field equals it. A browser sends the true origin of every page that opens a WebSocket.
 * - Nothing shows a proxy, whose requests also have a loopback address.
 *
 * Everything else needs the API token, in the first message.
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

/** Fields that proxies add. nginx adds none unless it is configured: that is why Host and Origin must be local, too. */
const proxyField = /^(?:forwarded|x-forwarded-.*|x-real-ip|via)$/;

/** The first sign that the client may not be a page of this server on this machine, a sentence; undefined without one. */
function remoteSign(connection: Connection, head: Head): string | undefined {
  const { server, isProxied, address, security } = connection;
  const { headers } = head;
  if (server.configuration.trustProxy.length > 0) return 'this server has a proxy in front (--trust-proxy)';
  if (isProxied) return 'a proxy sent a PROXY header';
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
