/**
 * The access log (`--access-log`): a line for each HTTP request when it is answered, and for each WebSocket when it ends, in the
 * combined form that Apache and nginx write and log analyzers read:
 *
 *     203.0.113.7 - ada [27/Nov/2026:05:06:38 +0000] "GET /echo HTTP/1.1" 101 4711 "https://example.com/" "Mozilla/5.0"
 *
 * The bytes are those of the response's content; for a WebSocket, all that was sent after the handshake. Secrets in URLs are
 * redacted.
 */
import { appendLine, closeLineFile, type LineFile, openLineFile, reopenLineFile } from '../log/lineFile.ts';
import { checkLog } from '../log/log.ts';
import type { Configuration, Reloadable } from '../options/configuration.ts';
import { UsageError } from '../options/error.ts';
import type { Head } from '../protocol/http/head.ts';
import { redact } from '../protocol/http/redact.ts';
import { hostOf } from '../protocol/ipAddress.ts';
import { accessEntryMemory, maxShownField, maxShownUrl } from '../protocol/limits.ts';

export interface AccessLog {
  readonly file: LineFile;
  /** Requests in progress and open WebSockets, whose lines are still to come. */
  readonly entries: Map<Visitor, Entry>;
  /** Characters of all entries. */
  length: number;
}

/** Bytes of memory: lines that wait for the disk, and the entries. Their characters are ASCII. */
export function accessLogMemory({ file, entries, length }: AccessLog): number {
  return file.length + length + entries.size * accessEntryMemory;
}

interface Entry {
  /** The request line, and the fields Referer and User-Agent, as they appear in the log. */
  readonly request: string;
  readonly fields: string;
  /** The status of the response; undefined: not sent yet. */
  status: number | undefined;
  /** The length of the content, if it is known; else it is what was sent after `begunAt`. */
  size: number | undefined;
  /** The bytes that had been sent or queued when the content began. */
  begunAt: number;
}

/** The part of a connection that appears in its lines. */
export interface Visitor {
  readonly address: string;
  readonly bytesOut: number;
  readonly queue: { readonly size: number; readonly inFlightSize: number };
  readonly isControl: boolean;
  readonly identity: { readonly user: string } | undefined;
  readonly server: { readonly accessLog: AccessLog | undefined };
}

/** The part of the server that the access log needs. */
interface Owner {
  readonly configuration: Configuration;
  readonly reloadables: Reloadable[];
  accessLog: AccessLog | undefined;
}

const option = '--access-log';

/** Opens the file, now and on every reload, because logrotate may have renamed it. @throws UsageError */
export function openAccessLog(server: Owner): void {
  const open = ({ accessLog: path }: Configuration) => {
    const { accessLog } = server;
    if (path === 'none') {
      if (accessLog !== undefined) void closeLineFile(accessLog.file);
      server.accessLog = undefined;
    } else if (accessLog === undefined) {
      server.accessLog = { file: openLineFile(path, option), entries: new Map(), length: 0 };
    } else {
      reopenLineFile(accessLog.file, path, option);
    }
  };
  checkAccessLog(server.configuration);
  open(server.configuration);
  server.reloadables.push({
    async prepare(next) {
      checkAccessLog(next);
      return () => {
        open(next);
        return [];
      };
    },
  });
}

function checkAccessLog({ accessLog: path }: Configuration): void {
  try {
    if (path !== 'none') checkLog(path, option);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Writes the remaining lines, and closes the file. */
export async function closeAccessLog({ accessLog }: Owner): Promise<void> {
  if (accessLog !== undefined) await closeLineFile(accessLog.file);
}

/** A request has begun. @param head undefined if it was invalid */
export function beginAccess(visitor: Visitor, head: Head | undefined): void {
  const { accessLog } = visitor.server;
  if (accessLog === undefined || visitor.isControl) return;
  forget(accessLog, visitor);
  const request = head === undefined ? '-' : requestLine(head);
  const fields = `"${shown(head?.headers.get('referer') ?? '-', true)}" "${shown(head?.headers.get('user-agent') ?? '-')}"`;
  accessLog.length += request.length + fields.length;
  accessLog.entries.set(visitor, {
    request,
    fields,
    status: undefined,
    size: undefined,
    begunAt: sentBytes(visitor),
  });
}

/** @returns the entry that the connection had */
function forget(accessLog: AccessLog, visitor: Visitor): Entry | undefined {
  const entry = accessLog.entries.get(visitor);
  if (entry === undefined) return undefined;
  accessLog.entries.delete(visitor);
  accessLog.length -= entry.request.length + entry.fields.length;
  return entry;
}

function requestLine({ method, target, version }: Head): string {
  return `${method} ${escaped(redact(target).slice(0, maxShownUrl))} HTTP/${version}`;
}

function shown(text: string, isUrl = false): string {
  return escaped((isUrl ? redact(text) : text).slice(0, maxShownField));
}

/** Escapes as Apache does, so no client can forge a field or a line. */
function escaped(text: string): string {
  return text.replace(/["\\]|[^ -~]/gu, character => {
    if (character === '"' || character === '\\') return `\\${character}`;
    // Field values are Latin-1.
    return [...Buffer.from(character, 'latin1')]
      .map(byte => `\\x${byte.toString(16).padStart(2, '0')}`)
      .join('');
  });
}

/**
 * The head of the response was queued.
 * @param size the length of the content; undefined if everything from now on is content
 */
export function noteAccess(visitor: Visitor, status: number, size: number | undefined): void {
  const entry = visitor.server.accessLog?.entries.get(visitor);
  if (entry === undefined) return;
  entry.status = status;
  entry.size = size;
  entry.begunAt = sentBytes(visitor);
}

/** Bytes written or queued so far. */
function sentBytes({ bytesOut, queue }: Visitor): number {
  return bytesOut + queue.size - queue.inFlightSize;
}

/** nginx's status for a request whose client left before the answer. */
const clientLeft = 499;

/** Writes the line of a request that is answered, or whose connection is gone. Later calls do nothing. */
export function endAccess(visitor: Visitor): void {
  const { accessLog } = visitor.server;
  if (accessLog === undefined) return;
  const entry = forget(accessLog, visitor);
  if (entry === undefined) return;
  const { request, fields, status = clientLeft, size } = entry;
  const host = hostOf(visitor.address);
  const name = userName(visitor.identity?.user);
  const bytes = size ?? Math.max(0, sentBytes(visitor) - entry.begunAt);
  appendLine(
    accessLog.file,
    `${host} - ${name} [${clockTime(Date.now())}] "${request}" ${status} ${bytes || '-'} ${fields}\n`,
  );
}

/** A hyphen stands for no user, so it is escaped in the name of one. Other names are in UTF-8, as Apache writes them. */
function userName(user: string | undefined): string {
  if (user === undefined) return '-';
  if (user === '-') return '\\x2d';
  return escaped(Buffer.from(user).toString('latin1')).replaceAll(' ', '\\x20');
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
let lastSecond = 0;
let lastText = '';

/** `27/Nov/2026:05:06:38 +0000`, in UTC as the server's own log. */
function clockTime(now: number): string {
  const second = Math.floor(now / 1000);
  if (second === lastSecond) return lastText;
  const [, year, month, day, time] = /^(\d+)-(\d+)-(\d+)T([\d:]+)/.exec(new Date(now).toISOString())!;
  lastSecond = second;
  lastText = `${day}/${months[Number(month) - 1]}/${year}:${time} +0000`;
  return lastText;
}
