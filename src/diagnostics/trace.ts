/**
 * The trace logs a line for each event of the traced connections: lines of HTTP heads (`head`), frames (`frame`), messages of several
 * frames (`message`), refused frames (`frame refused`), faults (`fault`), and the bytes that leave with faults (`wrote`).
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import {
  countBytes,
  frameFields,
  frameLine,
  type ShownFrame,
  type ShownPayload,
  shownBytes,
  showPayload,
  withPayload,
} from '../explain/frameLine.ts';
import {
  contentOf,
  type FrameLines,
  linesMemory,
  linesOfContent,
  linesOfFrame,
  linesOfRest,
  newFrameLines,
  readLength,
  type TraceLine,
} from '../explain/frameLines.ts';
import { shownFrameBytes } from '../explain/rawBytes.ts';
import { refusalLine } from '../explain/refusals.ts';
import { describeWrite, newWrittenStream, skipHead, type WrittenStream } from '../explain/writtenBytes.ts';
import { type LogFields, log } from '../log/log.ts';
import { printableLine } from '../log/printable.ts';
import type { Configuration, Reloadable } from '../options/configuration.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { parseResponseHead } from '../protocol/http/head.ts';
import { absoluteMaxHeader } from '../protocol/limits.ts';
import { maxTracedHeadLines, maxTracedLine, maxTraceMemory, maxTraceRate } from '../protocol/traceLimits.ts';
import { redactHeaders, redactUrl } from '../recordings/secrets.ts';
import { newFrameTap } from './frameTap.ts';
import { addTap, type FrameRefusal, removeTap, type Tap, type Tapped, type Taps } from './tap.ts';

/** A traced WebSocket. */
interface TracedSession {
  readonly received: FrameLines;
  readonly sent: FrameLines;
  /** The digest of the answer to its handshake; undefined if the trace began later. */
  answer: string | undefined;
  /** The position in the output; undefined without faults. */
  written: WrittenStream | undefined;
  /** Bytes of memory. */
  held: number;
}

/** Which connections of a server are traced. */
export interface Trace {
  readonly taps: Taps;
  readonly tap: Tap;
  isEveryone: boolean;
  readonly ids: Set<number>;
  /** By the id of their connection. */
  readonly sessions: Map<number, TracedSession>;
  /** Bytes of memory of all sessions. */
  held: number;
  /** The current second, the number of its lines, and the lines left out since the last report. */
  second: number;
  lines: number;
  skipped: number;
}

export function newTrace(taps: Taps): Trace {
  const { read, sent } = newFrameTap((connection, frame) => traceFrame(trace, connection, frame), readLength);
  const tap: Tap = {
    read,
    sent(connection, bytes, start, end) {
      const rest =
        connection.endpoint === undefined ? traceResponse(trace, connection, bytes, start, end) : start;
      if (rest < end) sent(connection, bytes, rest, end);
    },
    assembled(connection, message) {
      const session = sessionOf(trace, connection);
      traceLines(trace, connection, linesOfContent(session.received, contentOf(message)));
      updateHeld(trace, session);
    },
    compressed(connection, message) {
      sessionOf(trace, connection).sent.announced = contentOf(message);
    },
    refused: (connection, refusal) => traceRefusal(trace, connection, refusal),
    requested(connection, { method, target, version, headers }) {
      traceHead(trace, connection, '<', `${method} ${redactUrl(target)} HTTP/${version}`, headers);
    },
    fault: (connection, fault) =>
      traceLine(trace, connection, 'fault', { fault }, `! ${printableLine(fault)}`),
    wrote(connection, bytes, start, end, isFaulty) {
      if (isFaulty) traceWrite(trace, connection, Buffer.from(bytes.subarray(start, end)));
    },
    ended(connection) {
      endSession(trace, connection);
      trace.ids.delete(connection.id);
    },
  };
  const trace: Trace = {
    ...{ taps, tap, isEveryone: false, ids: new Set(), sessions: new Map() },
    ...{ held: 0, second: 0, lines: 0, skipped: 0 },
  };
  return trace;
}

/** The part of the server that the trace needs. */
interface Owner {
  readonly configuration: Configuration;
  readonly reloadables: Reloadable[];
  readonly trace: Trace;
}

/** Follows `--trace` at the start, and when a reload changes it. Otherwise a reload keeps what the command `trace` has chosen. */
export function openTrace({ configuration, reloadables, trace }: Owner): void {
  let isConfigured = false;
  const follow = (next: Configuration) => {
    if (next.trace !== isConfigured) traceConnection(trace, next.trace ? 'all' : 'off');
    isConfigured = next.trace;
  };
  follow(configuration);
  reloadables.push({
    prepare: async next => () => {
      follow(next);
      return [];
    },
  });
}

/**
 * Traces one connection, or all, including future ones; or stops all tracing. The trace of a connection ends with the
 * connection: the next owner of its id is not traced.
 */
export function traceConnection(trace: Trace, which: number | 'all' | 'off'): void {
  const { taps, tap, ids } = trace;
  if (typeof which === 'number') {
    if (trace.isEveryone) return;
    ids.add(which);
    addTap(taps, which, tap);
    return;
  }
  for (const id of ids) removeTap(taps, id, tap);
  ids.clear();
  trace.isEveryone = which === 'all';
  if (trace.isEveryone) {
    addTap(taps, 'all', tap);
    return;
  }
  removeTap(taps, 'all', tap);
  trace.sessions.clear();
  trace.held = 0;
  reportSkipped(trace);
}

export function tracedConnections({ isEveryone, ids }: Trace): 'all' | readonly number[] {
  return isEveryone ? 'all' : [...ids];
}

function sessionOf({ sessions }: Trace, { id }: Tapped): TracedSession {
  const known = sessions.get(id);
  if (known !== undefined) return known;
  const session = {
    received: newFrameLines('<'),
    sent: newFrameLines('>'),
    answer: undefined,
    written: undefined,
    held: 0,
  };
  sessions.set(id, session);
  return session;
}

function endSession(trace: Trace, connection: Tapped): void {
  const session = trace.sessions.get(connection.id);
  if (session === undefined) return;
  traceLines(trace, connection, linesOfRest(session.received));
  trace.held -= session.held;
  trace.sessions.delete(connection.id);
}

function updateHeld(trace: Trace, session: TracedSession): void {
  const held = linesMemory(session.received) + linesMemory(session.sent);
  trace.held += held - session.held;
  session.held = held;
}

function traceFrame(trace: Trace, connection: Tapped, frame: ShownFrame): void {
  if (frame.first === undefined) {
    const context = withPayload(frame);
    traceLine(trace, connection, 'frame', frameFields(frame, context), frameLine(frame, context));
    return;
  }
  const session = sessionOf(trace, connection);
  const lines = frame.direction === '<' ? session.received : session.sent;
  traceLines(trace, connection, linesOfFrame(lines, frame, trace.held < maxTraceMemory));
  updateHeld(trace, session);
}

function traceLines(trace: Trace, connection: Tapped, lines: readonly TraceLine[]): void {
  for (const { kind, fields, text } of lines) traceLine(trace, connection, kind, fields, text);
}

function traceRefusal(trace: Trace, connection: Tapped, refusal: FrameRefusal): void {
  const session = trace.sessions.get(connection.id);
  if (session !== undefined) traceLines(trace, connection, linesOfRest(session.received));
  const { fields, text } = refusalLine(refusal);
  traceLine(trace, connection, 'frame refused', { code: refusal.code, ...fields }, text);
}

function traceWrite(trace: Trace, connection: Tapped, bytes: Buffer): void {
  const { endpoint } = connection;
  if (endpoint === undefined) {
    traceWritten(trace, connection, shownFrameBytes(bytes), bytes.length, '');
    return;
  }
  const session = sessionOf(trace, connection);
  session.written ??= newWrittenStream(session.answer !== undefined && bytes[0] === firstOfHttp);
  const headSize = skipHead(session.written, bytes);
  const head = bytes.subarray(0, headSize);
  if (headSize > 0 && digestOf(head) === session.answer)
    traceWritten(trace, connection, shownBytes(head, false, true), headSize, 'the answer, unchanged');
  else if (head.toString('latin1', 0, 5) === 'HTTP/')
    traceWrittenHead(trace, connection, head.toString('latin1'));
  else if (headSize > 0)
    traceWritten(trace, connection, shownBytes(head, false, true), headSize, 'a part of the answer');
  const rest = bytes.subarray(headSize);
  if (rest.length === 0) return;
  const described = describeWrite(session.written, rest, hasDeflate(endpoint));
  traceWritten(trace, connection, shownFrameBytes(rest), rest.length, described);
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('base64');
}

/** The `H` of `HTTP/1.1`. No server sends a frame that begins with it. */
const firstOfHttp = 0x48;

function traceWritten(
  trace: Trace,
  connection: Tapped,
  payload: ShownPayload,
  length: number,
  meaning: string,
): void {
  const { text, hex } = payload;
  const shown = `! wrote ${countBytes(length)}${showPayload(payload)}${meaning === '' ? '' : ` = ${meaning}`}`;
  traceLine(trace, connection, 'wrote', { length, text, hex, meaning }, shown);
}

function hasDeflate(endpoint: { readonly deflater?: unknown }): boolean {
  return endpoint.deflater !== undefined;
}

/** Traces the head of a response. @returns the end of the head; `start` if the bytes do not begin with one */
function traceResponse(
  trace: Trace,
  connection: Tapped,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  if (
    Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.min(end - start, 9)).toString('latin1') !==
    'HTTP/1.1 '
  )
    return start;
  try {
    const parsed = parseResponseHead(bytes, start, end, absoluteMaxHeader);
    if (parsed === undefined) return start;
    const { status, reason, headers } = parsed.head;
    if (status === 101) sessionOf(trace, connection).answer = digestOf(bytes.subarray(start, parsed.end));
    traceHead(trace, connection, '>', `HTTP/1.1 ${status} ${reason}`, headers);
    return parsed.end;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return start;
  }
}

/** Traces a head that faults have changed. It may be invalid. */
function traceWrittenHead(trace: Trace, connection: Tapped, head: string): void {
  const [first = '', ...lines] = head.split('\r\n').filter(line => line !== '');
  const fields = lines.map((line): readonly [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  traceHead(trace, connection, '!', first, fields);
}

/** Traces the first line of a head, and each field. */
function traceHead(
  trace: Trace,
  connection: Tapped,
  way: '<' | '>' | '!',
  first: string,
  headers: Iterable<readonly [name: string, value: string]>,
): void {
  const fields = [...headers];
  const shown = fields.slice(0, maxTracedHeadLines).map(([name, value]) => {
    const [redacted] = Object.values(redactHeaders({ [name]: value }));
    return `  ${name}: ${redacted}`;
  });
  const more = fields.length - shown.length;
  for (const text of [first, ...shown, ...(more > 0 ? [`  … ${more} more`] : [])]) {
    const line = text.length > maxTracedLine ? `${text.slice(0, maxTracedLine)} …` : text;
    traceLine(trace, connection, 'head', { way, line: line.trimStart() }, `${way} ${printableLine(line)}`);
  }
}

/** Logs a line, or counts it if the rate is exceeded. */
function traceLine(trace: Trace, { id }: Tapped, event: string, fields: LogFields, shown: string): void {
  const second = Math.floor(Date.now() / 1000);
  if (second !== trace.second) Object.assign(trace, { second, lines: 0 });
  if (++trace.lines > maxTraceRate) {
    if (trace.skipped++ === 0) setTimeout(reportSkipped, 1000, trace).unref();
    return;
  }
  log('info', event, { id, ...fields }, `id=${id} ${shown}`);
}

function reportSkipped(trace: Trace): void {
  if (trace.skipped > 0) log('warn', 'trace lines left out', { count: trace.skipped, limit: maxTraceRate });
  trace.skipped = 0;
}
