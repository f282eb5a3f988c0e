/**
 * The answers that carry messages to a polling client: one JSON document for a poll, or a stream of server-sent events. They
 * are encoded from the frames in the backlog slice by slice, as fast as the socket accepts them.
 */

import { startSending } from '../../core/progress.ts';
import { queueRange, scheduleFlush, sendBytes } from '../../core/send.ts';
import { contentLengthSlice, outputSlice, polledMessageOverhead, pollWindow } from '../../protocol/limits.ts';
import {
  answerEnd,
  answerStart,
  base64Size,
  closedEvent,
  eventEnd,
  eventStart,
  maxEventOverhead,
  messageEnd,
  messageStart,
  textSize,
  writeContent,
} from '../../protocol/polling.ts';
import { reserve } from '../../records/arena.ts';
import type { Connection, Producer } from '../../records/records.ts';
import { beginResponse, endResponse, type Fields, promiseResponse } from '../route.ts';
import { type Backlog, type Cursor, newCursor, nextMessage } from './backlog.ts';

/** Writes messages as JSON into limited space. */
class MessageWriter {
  readonly cursor: Cursor;
  /** Whether a message is partly written. */
  isInside = false;
  private readonly isEvents: boolean;
  private isFirst = true;

  constructor(cursor: Cursor, isEvents: boolean) {
    this.cursor = cursor;
    this.isEvents = isEvents;
  }

  /** Writes messages up to `lastSeq` to `target[at, limit)`. @returns where it stopped */
  write(target: Buffer, at: number, limit: number, lastSeq: number): number {
    const { cursor, isEvents } = this;
    let next = at;
    for (;;) {
      if (this.isInside) {
        next = writeContent(cursor, target, next, limit - maxEventOverhead);
        if (cursor.from < cursor.to) return next;
        next += target.write(isEvents ? eventEnd : messageEnd, next, 'latin1');
        this.isInside = false;
      }
      if (limit - next < 2 * maxEventOverhead || !nextMessage(cursor, lastSeq)) return next;
      const { seq, isText } = cursor;
      const comma = isEvents || this.isFirst ? '' : ',';
      const start = isEvents ? eventStart(seq, isText) : messageStart(seq, isText);
      next += target.write(comma + start, next, 'latin1');
      this.isFirst = false;
      this.isInside = true;
    }
  }
}

/** Queues a slice of the arena that `write` fills. */
function queueSlice(
  connection: Connection,
  size: number,
  write: (to: Buffer, at: number, limit: number) => number,
) {
  const chunk = reserve(connection.server.arena, size);
  const start = chunk.used;
  chunk.used = write(chunk.bytes, start, start + size);
  if (chunk.used > start) queueRange(connection, chunk, start, chunk.used);
}

/**
 * The answer to a poll. It has a `Content-Length`, so clients of HTTP/1.0 and 1.1 detect a truncated answer; hence the
 * messages are measured before the head is written.
 */
class PollAnswer implements Producer {
  readonly lastSeq: number;
  private readonly backlog: Backlog;
  private readonly fields: Fields;
  private readonly measured: Cursor;
  private readonly writer: MessageWriter;
  private readonly end: string;
  /** Bytes of the body that are not written yet; -1 before the head is. */
  private missing = -1;
  private size: number;

  /** @param lastSeq the number of its last message; its first one is the first in the backlog */
  constructor(backlog: Backlog, fields: Fields, lastSeq: number, closing: string | undefined) {
    this.lastSeq = lastSeq;
    this.backlog = backlog;
    this.fields = fields;
    this.measured = newCursor(backlog);
    this.writer = new MessageWriter(newCursor(backlog), false);
    this.end = answerEnd(closing);
    const messages = lastSeq - this.measured.seq;
    this.size = answerStart.length + Math.max(0, messages - 1) + Buffer.byteLength(this.end);
  }

  produce(connection: Connection): boolean {
    if (this.missing < 0) {
      if (!this.measure()) return true;
      this.writeHead(connection);
    }
    const size = Math.min(outputSlice, this.missing + 3 * maxEventOverhead);
    queueSlice(connection, size, (target, at, limit) => {
      const next = this.writer.write(target, at, limit, this.lastSeq);
      this.missing -= next - at;
      return next;
    });
    if (this.writer.isInside || this.writer.cursor.seq < this.lastSeq) return true;
    connection.producer = undefined;
    sendBytes(connection, Buffer.from(this.end));
    endResponse(connection);
    return false;
  }

  /** Measures for one slice. @returns true when all messages are measured */
  private measure(): boolean {
    const { measured, lastSeq } = this;
    for (let left = contentLengthSlice; left > 0; ) {
      if (measured.from === measured.to) {
        if (!nextMessage(measured, lastSeq)) return true;
        const { isText, from, to, seq } = measured;
        this.size += messageStart(seq, isText).length + messageEnd.length;
        left -= polledMessageOverhead;
        if (isText) continue;
        this.size += base64Size(to - from);
        measured.from = to;
      } else {
        const to = Math.min(measured.to, measured.from + left);
        this.size += textSize(measured.bytes, measured.from, to);
        left -= to - measured.from;
        measured.from = to;
      }
    }
    return false;
  }

  private writeHead(connection: Connection): void {
    const headers = {
      'Content-Type': 'application/json',
      ...this.fields,
      'Content-Length': String(this.size),
    };
    beginResponse(connection, 200, headers);
    sendBytes(connection, Buffer.from(answerStart));
    this.missing = this.size - answerStart.length;
  }

  /** Bytes of frames that only this answer still needs. */
  held(): number {
    return Math.max(0, this.backlog.removed - this.writer.cursor.passed);
  }
}

/** Answers a poll with the first messages of the backlog. @returns the number of the last message in the answer */
export function answerPoll(request: Connection, fields: Fields, backlog: Backlog, isLast: boolean): number {
  const lastSeq = isLast ? backlog.lastSeq : lastOfAnswer(backlog);
  begin(request, fields, backlog, lastSeq, lastSeq === backlog.lastSeq ? backlog.closing : undefined);
  return lastSeq;
}

/** Answers a poll without messages. */
export function answerEmpty(request: Connection, fields: Fields, backlog: Backlog): void {
  begin(request, fields, backlog, backlog.firstSeq - 1, undefined);
}

function begin(
  request: Connection,
  fields: Fields,
  backlog: Backlog,
  lastSeq: number,
  closing: string | undefined,
): void {
  request.producer = new PollAnswer(backlog, fields, lastSeq, closing);
  promiseResponse(request);
  scheduleFlush(request);
}

/** The last message of an answer, which has at least one message, and stops when the window is full. */
function lastOfAnswer(backlog: Backlog): number {
  const cursor = newCursor(backlog);
  for (let size = 0; size < pollWindow && nextMessage(cursor, backlog.lastSeq); )
    size += cursor.to - cursor.from + polledMessageOverhead;
  return cursor.seq;
}

/** Milliseconds before a browser reconnects to a stream that ended. */
const sseRetryDelay = 250;

/** A comment line, which clients ignore. */
const heartbeat = Buffer.from(':\n\n');

/** A stream of server-sent events (`text/event-stream`). */
export class EventStream implements Producer {
  /** When the last bytes were written. */
  wroteAt: number;
  private readonly backlog: Backlog;
  private readonly writer: MessageWriter;
  private isEnding = false;

  constructor(request: Connection, fields: Fields, backlog: Backlog) {
    this.wroteAt = request.server.now;
    this.backlog = backlog;
    this.writer = new MessageWriter(newCursor(backlog), true);
    const headers = {
      'Content-Type': 'text/event-stream',
      // Disables nginx's buffering of the response.
      'X-Accel-Buffering': 'no',
    };
    beginResponse(request, 200, { ...fields, ...headers });
    sendBytes(request, Buffer.from(`retry: ${sseRetryDelay}\n\n`));
    startSending(request);
    request.producer = this;
    scheduleFlush(request);
  }

  /** The number of the last message that was written whole. */
  get carriedSeq(): number {
    const { cursor, isInside } = this.writer;
    return isInside ? cursor.seq - 1 : cursor.seq;
  }

  /** Whether any messages are not written yet. */
  get isBehind(): boolean {
    return this.writer.isInside || (!this.isEnding && this.writer.cursor.seq < this.backlog.lastSeq);
  }

  produce(connection: Connection): boolean {
    const { backlog, writer } = this;
    const { isDraining, now } = connection.server;
    queueSlice(connection, outputSlice, (target, at, limit) => {
      const next = writer.write(target, at, limit, this.isEnding ? writer.cursor.seq : backlog.lastSeq);
      if (next > at) this.wroteAt = now;
      return next;
    });
    if (writer.isInside) return true;
    const isAll = writer.cursor.seq === backlog.lastSeq;
    // A stream cannot carry acknowledgements. When the window is full it ends, and the client acknowledges by reconnecting.
    const isFull = writer.cursor.passed - backlog.removed >= pollWindow && !isDraining;
    if (isAll && backlog.closing !== undefined) {
      sendBytes(connection, Buffer.from(closedEvent(backlog.closing)));
    } else if (!this.isEnding && !isFull) {
      return !isAll;
    }
    connection.producer = undefined;
    endResponse(connection);
    return false;
  }

  /** Ends the stream after the message that is being written. */
  end(connection: Connection): void {
    this.isEnding = true;
    scheduleFlush(connection);
  }

  /** Sends a heartbeat, unless other output is already queued. */
  sendHeartbeat(connection: Connection): void {
    if (this.writer.isInside || connection.queue.size > 0) return;
    sendBytes(connection, heartbeat);
    this.wroteAt = connection.server.now;
  }

  held(): number {
    return Math.max(0, this.backlog.removed - this.writer.cursor.passed);
  }
}
