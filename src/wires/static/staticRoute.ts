/**
 * The HTTP route of a site's files (`--static DIR`). The server's other routes, its pages and its handlers come first.
 *
 *     GET /            → DIR/index.html
 *     GET /docs        → 301 to docs/, if that is a folder
 *     GET /app.js      → DIR/app.js, or DIR/app.js.br or .gz if the client accepts it
 *     anything else    → the file of `--static-fallback`, or 404 with DIR/404.html
 */

import { randomBytes } from 'node:crypto';
import { closeSync, readSync } from 'node:fs';
import { fileNeeds } from '../../access/needs.ts';
import { isServed } from '../../handlers/handlers.ts';
import { log } from '../../log/log.ts';
import type { Configuration } from '../../options/configuration.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import { acceptedCodings, type ContentCoding } from '../../protocol/http/contentCoding.ts';
import type { Head, HttpResponse } from '../../protocol/http/head.ts';
import { isCompressible, mediaTypeOf, unknownType } from '../../protocol/http/mediaTypes.ts';
import { firstSegment } from '../../protocol/http/path.ts';
import { type PartRange, readRanges } from '../../protocol/http/ranges.ts';
import { maxErrorPage, maxIgnoredBody } from '../../protocol/limits.ts';
import type { Connection, Server } from '../../records/records.ts';
import { isServerPage } from '../../web/pages.ts';
import { beginResponse, endResponse, type Fields, type Route, refusalResponse, respond } from '../route.ts';
import { allowsRange, failedCondition, type Validators } from './conditions.ts';
import {
  checkOpenFiles,
  closeFile,
  contentLength,
  type FileContent,
  newOpenFiles,
  type OpenFiles,
  sendFile,
} from './fileBody.ts';
import { folderPage, openSite, openSiteFile, readSitePath, type Site, type SiteFile } from './site.ts';

const methods = 'GET, HEAD, OPTIONS';

/** @throws UsageError if the folder does not exist */
export function newStaticRoute(server: Server): Route {
  const { static: directory, staticFollow } = server.configuration;
  const site = openSite(directory, staticFollow);
  const files = newOpenFiles(server);
  warnOfFallback(site, server.configuration);

  return {
    takes: ({ path }) =>
      path.startsWith('/') && !isServerPage(path) && !isReserved(server, firstSegment(path)),

    admit({ method }) {
      if (method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS')
        throw new ProtocolError(405, 'files accept GET and HEAD only', { Allow: methods });
      return maxIgnoredBody;
    },

    needs: ({ path }) => fileNeeds(readSitePath(path), folderPage),

    answer(connection, head) {
      if (head.method === 'OPTIONS')
        respond(connection, { status: 204, headers: { Allow: methods }, body: '' });
      else answerFile(site, files, connection, head);
    },

    formatRefusal: error => (error.code === 404 ? errorPage(site, error) : refusalResponse(error)),

    // `answer` has queued the whole answer, or promised it by a Content-Length.
    close() {},

    finished: connection => closeFile(files, connection),
  };
}

/** Whether the path belongs to a handler that is on, or to commands over HTTP, even if no token allows those. */
function isReserved(server: Server, name: string): boolean {
  return name === 'api' || isServed(server, name);
}

function warnOfFallback(site: Site, { staticFallback: path }: Configuration): void {
  if (path === 'none') return;
  const file = openFile(site, path);
  if (file !== undefined) closeSync(file.descriptor);
  else
    log('warn', 'no fallback', {
      file: path,
      static: site.directory,
      remedy: 'create it, or change --static-fallback',
    });
}

/** @throws ProtocolError */
function answerFile(site: Site, files: OpenFiles, connection: Connection, head: Head): void {
  const { server } = connection;
  const names = readSitePath(head.path);
  const isFolder = names.at(-1) === '';
  let path = names.join('/') + (isFolder ? folderPage : '');
  let file = openSiteFile(site, path);
  if (file === 'folder') {
    if (!isFolder) return redirect(connection, head, names.at(-1)!);
    file = undefined;
  }
  const { staticFallback } = server.configuration;
  if (file === undefined && staticFallback !== 'none' && isForPage(head, path)) {
    path = staticFallback;
    file = openFile(site, path);
  }
  if (file === undefined) throw new ProtocolError(404, 'no such page');
  sendRepresentation(files, connection, head, chooseRepresentation(site, head, path, file));
}

/** Relative links in a folder's page need the slash. The redirect is relative, too: a proxy may have shortened the path. */
function redirect(connection: Connection, { query }: Head, name: string): void {
  const location = `./${encodeURIComponent(name)}/${query === '' ? '' : `?${query}`}`;
  const headers = {
    Location: location,
    'Cache-Control': 'no-cache',
    'Content-Type': 'text/plain; charset=utf-8',
  };
  respond(connection, { status: 301, headers, body: `see ${location}\n` });
}

/** Whether a path without a file may be a page of a single-page app. A missing script must remain an error. */
function isForPage({ headers }: Head, path: string): boolean {
  const type = mediaTypeOf(path);
  return (
    type === undefined || type.startsWith('text/html') || /\btext\/html\b/i.test(headers.get('accept') ?? '')
  );
}

interface Representation {
  readonly file: SiteFile;
  readonly type: string;
  readonly coding: ContentCoding | undefined;
}

const suffixes = { br: '.br', gzip: '.gz' } as const;

/** @param file becomes the chosen representation, or is closed */
function chooseRepresentation(site: Site, { headers }: Head, path: string, file: SiteFile): Representation {
  const type = mediaTypeOf(path) ?? unknownType;
  const accepted = headers.get('accept-encoding');
  const codings = isCompressible(type) ? acceptedCodings(accepted, ['br', 'gzip']) : [];
  for (const coding of codings) {
    const compressed = openIfReadable(site, path + suffixes[coding]);
    if (compressed === undefined) continue;
    closeSync(file.descriptor);
    return { file: compressed, type, coding };
  }
  return { file, type, coding: undefined };
}

/** As `openSiteFile`; a folder is no file. */
function openFile(site: Site, path: string): SiteFile | undefined {
  const file = openSiteFile(site, path);
  return file === 'folder' ? undefined : file;
}

/** Opens a file that the answer can do without. */
function openIfReadable(site: Site, path: string): SiteFile | undefined {
  try {
    return openFile(site, path);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** Answers with the chosen file, and closes it when it is sent. */
function sendRepresentation(
  files: OpenFiles,
  connection: Connection,
  head: Head,
  chosen: Representation,
): void {
  const { descriptor } = chosen.file;
  let isTaken = false;
  try {
    const { status, headers, content } = answerTo(head, chosen, Date.now());
    if (content === undefined || head.method === 'HEAD') {
      beginResponse(connection, status, headers, content === undefined ? '' : undefined);
      endResponse(connection);
      return;
    }
    checkOpenFiles(files, content);
    beginResponse(connection, status, headers);
    isTaken = true;
    sendFile(files, connection, descriptor, content);
  } finally {
    if (!isTaken) closeSync(descriptor);
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Fields;
  /** Undefined for an answer without content. */
  readonly content: FileContent | undefined;
}

function answerTo(head: Head, { file, type, coding }: Representation, now: number): Answer {
  const validators = validatorsOf(file, coding, now);
  // A cache needs these fields with 304, too (RFC 9110 §15.4.5).
  const common = {
    Date: new Date(now).toUTCString(),
    ETag: validators.etag,
    'Last-Modified': new Date(validators.modified).toUTCString(),
    // A cache may keep the file, and asks before each use whether it has changed.
    'Cache-Control': 'no-cache',
    ...(isCompressible(type) ? { Vary: 'Accept-Encoding' } : {}),
  };
  const failed = failedCondition(head.headers, validators);
  if (failed !== undefined) return { status: failed, headers: common, content: undefined };
  const headers = {
    'Content-Type': type,
    ...(coding === undefined ? {} : { 'Content-Encoding': coding }),
    ...common,
    'Accept-Ranges': 'bytes',
    'X-Content-Type-Options': 'nosniff',
  };
  // RFC 9110 §14.2: a range is defined for GET only.
  const field = head.method === 'GET' ? head.headers.get('range') : undefined;
  const asked = field !== undefined && allowsRange(head.headers, validators);
  const ranges = asked ? readRanges(field, file.size) : undefined;
  if (ranges === undefined) {
    const whole = oneRange({ start: 0, end: file.size });
    return { status: 200, headers: withLength(headers, whole), content: whole };
  }
  if (ranges.length === 0) {
    const unsatisfied = { ...common, 'Content-Range': `bytes */${file.size}` };
    return { status: 416, headers: unsatisfied, content: undefined };
  }
  return { status: 206, ...partial(headers, type, ranges, file.size) };
}

/** The tag consists of the size and the time of modification in microseconds. */
function validatorsOf(
  { size, modified }: SiteFile,
  coding: ContentCoding | undefined,
  now: number,
): Validators {
  const version = `${size.toString(16)}-${Math.round(modified * 1000).toString(16)}`;
  const seconds = Math.floor(Math.min(Math.max(0, modified), now) / 1000);
  // RFC 9110 §8.8.2.1: not later than now.
  return { etag: coding === undefined ? `"${version}"` : `"${version}-${coding}"`, modified: seconds * 1000 };
}

const nothing = Buffer.alloc(0);

function oneRange(range: PartRange): FileContent {
  return { parts: [{ prefix: nothing, range }], suffix: nothing };
}

function withLength(headers: Fields, content: FileContent): Fields {
  return { ...headers, 'Content-Length': String(contentLength(content)) };
}

/** The delimiter of parts. It is random because no file may contain it. */
const boundary = `part-${randomBytes(16).toString('hex')}`;

/** RFC 9110 §14.6: several ranges are the parts of a multipart message. */
function partial(
  headers: Fields,
  type: string,
  ranges: readonly PartRange[],
  size: number,
): Pick<Answer, 'headers' | 'content'> {
  const contentRange = ({ start, end }: PartRange) => `bytes ${start}-${end - 1}/${size}`;
  const [only, ...others] = ranges;
  if (others.length === 0) {
    const content = oneRange(only!);
    return { headers: { ...withLength(headers, content), 'Content-Range': contentRange(only!) }, content };
  }
  const parts = ranges.map(range => ({
    prefix: Buffer.from(
      `\r\n--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: ${contentRange(range)}\r\n\r\n`,
    ),
    range,
  }));
  const content = { parts, suffix: Buffer.from(`\r\n--${boundary}--\r\n`) };
  const multipart = { ...headers, 'Content-Type': `multipart/byteranges; boundary=${boundary}` };
  return { headers: withLength(multipart, content), content };
}

/** The answer 404: the site's `404.html`, or plain text. */
function errorPage(site: Site, error: ProtocolError): HttpResponse {
  const plain = refusalResponse(error);
  const file = openIfReadable(site, '404.html');
  if (file === undefined) return plain;
  try {
    if (file.size > maxErrorPage) return plain;
    const body = Buffer.alloc(file.size);
    const count = readSync(file.descriptor, body, 0, file.size, 0);
    const headers = {
      'Content-Type': mediaTypeOf('404.html')!,
      'Cache-Control': 'no-cache',
      'X-Content-Type-Options': 'nosniff',
    };
    return { status: 404, headers, body: body.subarray(0, count) };
  } finally {
    closeSync(file.descriptor);
  }
}
