/** What a browser gets that asks for a page. */
import { ProtocolError } from '../protocol/codes.ts';
import { encodeResponse, type Head } from '../protocol/http.ts';
import { welcomePage } from './welcome.ts';

/** The page's own styles, and connections to where it came from: nothing else. */
const contentSecurityPolicy =
  "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const pages: ReadonlyMap<string, () => { type: string; body: string }> = new Map([
  ['/', () => ({ type: 'text/html; charset=utf-8', body: welcomePage })],
  ['/healthz', () => ({ type: 'text/plain; charset=utf-8', body: 'ok\n' })],
]);

/**
 * Answers a request that is no handshake.
 * @param endpoints the names that WebSocket clients connect to, for whoever comes to one without asking for WebSocket
 * @throws ProtocolError 404, 405 or 426
 */
export function answerPage(head: Head, endpoints: ReadonlyMap<string, unknown>): Buffer {
  const page = pages.get(head.path);
  if (page === undefined) {
    if (endpoints.has(head.path.split('/', 2)[1] ?? '')) {
      const reason = 'this is a WebSocket endpoint: connect with ws:// instead of http://';
      throw new ProtocolError(426, reason, { Upgrade: 'websocket', Connection: 'Upgrade, close' });
    }
    throw new ProtocolError(404, 'there is no such page');
  }
  if (head.method !== 'GET' && head.method !== 'HEAD') {
    throw new ProtocolError(405, 'a page can only be read', { Allow: 'GET, HEAD' });
  }
  const { type, body } = page();
  const headers = {
    'Content-Type': type,
    'Content-Length': String(Buffer.byteLength(body)),
    'Content-Security-Policy': contentSecurityPolicy,
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-cache',
  };
  return encodeResponse(200, headers, head.method === 'HEAD' ? '' : body);
}
