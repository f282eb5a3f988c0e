/** Serves the chat page (`page/`), the client library (`library/`), the inspector (`inspector/`) and `/healthz`. */
import { readdirSync, readFileSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { gzipSync } from 'node:zlib';
import { inspectorPath } from '../handlers/inspector/messages.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { acceptedCodings } from '../protocol/http/contentCoding.ts';
import type { Head, HttpResponse } from '../protocol/http/head.ts';
import { mediaTypeOf } from '../protocol/http/mediaTypes.ts';
import { firstSegment } from '../protocol/http/path.ts';

/** The page loads, runs and connects to this server's resources only, and cannot be framed. */
const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

interface Page {
  readonly type: string;
  readonly body: Buffer;
  /** The body compressed, once at the start. */
  readonly gzipped: Buffer;
  /** Whether pages of every origin may import it. */
  readonly isLibrary: boolean;
}

const newPage = (type: string, body: Buffer, isLibrary = false): Page => ({
  type,
  body,
  gzipped: gzipSync(body, { level: 9 }),
  isLibrary,
});

/** The files that are served; declarations of types are not. */
const served = /\.(?:html|css|js|(?<!\.d\.)ts)$/;

/** All files of the page and the library by URL path; they are few and small, and read once. */
function loadPages(): ReadonlyMap<string, Page> {
  const pages = new Map<string, Page>();
  pages.set('/healthz', newPage(mediaTypeOf('.txt')!, Buffer.from('ok\n')));
  for (const path of ['./page/', './library/']) {
    const folder = new URL(path, import.meta.url);
    for (const name of readdirSync(folder)) {
      if (!served.test(name)) continue;
      const type = mediaTypeOf(name.replace(/ts$/, 'js'))!;
      const page = newPage(type, readFileSync(new URL(name, folder)), path === './library/');
      // A site (`--static`) has all other paths, `/` among them.
      const place = page.isLibrary ? '/' : '/chat/';
      if (name === 'index.html') pages.set('/', page).set('/chat', page);
      else if (name.endsWith('.ts')) addSource(pages, place + name, page);
      else pages.set(place + name, page);
    }
  }
  return pages;
}

/** If the server runs from its sources, so does the page: a Node that can strip types does that for both. */
function addSource(pages: Map<string, Page>, path: string, { type, body, isLibrary }: Page): void {
  const { stripTypeScriptTypes } = nodeModule as { stripTypeScriptTypes?: (source: string) => string };
  const script = newPage(type, Buffer.from(stripTypeScriptTypes?.(body.toString()) ?? ''), isLibrary);
  pages.set(path, script).set(path.replace(/ts$/, 'js'), script);
}

/** The inspector's page at `/inspect`, and its other files below that path. */
function loadInspector(): ReadonlyMap<string, Page> {
  const found = new Map<string, Page>();
  const folder = new URL('./inspector/', import.meta.url);
  for (const name of readdirSync(folder)) {
    if (!served.test(name)) continue;
    const page = newPage(mediaTypeOf(name.replace(/ts$/, 'js'))!, readFileSync(new URL(name, folder)));
    if (name === 'index.html') found.set(inspectorPath, page);
    else if (name.endsWith('.ts')) addSource(found, `${inspectorPath}/${name}`, page);
    else found.set(`${inspectorPath}/${name}`, page);
  }
  return found;
}

const pages = loadPages();
const inspector = loadInspector();

/** Whether this is a page of the server that a site's files cannot replace. */
export function isServerPage(path: string): boolean {
  return path !== '/' && pages.has(path);
}

const pageMethods = 'GET, HEAD, OPTIONS';

const allowed = (methods: string): HttpResponse => ({ status: 204, headers: { Allow: methods }, body: '' });

/**
 * Answers a request that is not a handshake.
 * @param endpoints the paths of WebSocket endpoints, which plain requests get 426 for
 * @param isSecure whether the request came over TLS
 * @throws ProtocolError 404, 405 or 426
 */
export function answerPage(
  head: Head,
  endpoints: { has(path: string): boolean },
  isSecure: boolean,
): HttpResponse {
  const page = pages.get(head.path);
  if (head.method === 'OPTIONS') {
    const isEndpoint = endpoints.has(firstSegment(head.path));
    // `OPTIONS *` (RFC 9110 §9.3.7): some load balancers use it as a health check.
    if (head.path === '*') return allowed('GET, HEAD, POST, DELETE, OPTIONS');
    if (page !== undefined) return allowed(pageMethods);
    if (isEndpoint) return allowed('GET, OPTIONS');
  }
  if (page === undefined) {
    if (endpoints.has(firstSegment(head.path))) {
      const s = isSecure ? 's' : '';
      const reason = `this is a WebSocket endpoint: connect with ws${s}:// instead of http${s}://`;
      throw new ProtocolError(426, reason, { Upgrade: 'websocket', Connection: 'Upgrade' });
    }
    throw new ProtocolError(404, 'no such page');
  }
  return pageResponse(page, head);
}

/** Answers a request for the inspector's page or one of its files. @throws ProtocolError 404 or 405 */
export function answerInspectorPage(head: Head): HttpResponse {
  const page = inspector.get(head.path);
  if (page === undefined) throw new ProtocolError(404, 'no such page');
  return head.method === 'OPTIONS' ? allowed(pageMethods) : pageResponse(page, head);
}

/** @throws ProtocolError 405 */
function pageResponse(page: Page, head: Head): HttpResponse {
  if (head.method !== 'GET' && head.method !== 'HEAD') {
    throw new ProtocolError(405, 'pages accept GET and HEAD only', { Allow: pageMethods });
  }
  const isGzipped = acceptedCodings(head.headers.get('accept-encoding'), ['gzip']).length > 0;
  const body = isGzipped ? page.gzipped : page.body;
  const headers = {
    'Content-Type': page.type,
    ...(isGzipped ? { 'Content-Encoding': 'gzip' } : {}),
    Vary: 'Accept-Encoding',
    'Content-Security-Policy': contentSecurityPolicy,
    ...(page.isLibrary ? { 'Access-Control-Allow-Origin': '*' } : {}),
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-cache',
  };
  return { status: 200, headers, body };
}
