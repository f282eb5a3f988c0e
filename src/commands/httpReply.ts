/** The HTTP response to a command: in one piece if it is short, otherwise in chunks as they are written. */

import { dropConnection } from '../core/close.ts';
import { startSending } from '../core/progress.ts';
import { sendBytes } from '../core/send.ts';
import { printableJson, printableLine } from '../log/printable.ts';
import { UsageError } from '../options/error.ts';
import { ProtocolError } from '../protocol/codes.ts';
import type { HttpResponse } from '../protocol/http/head.ts';
import type { Connection } from '../records/records.ts';
import { beginResponse, endAfterResponse, endResponse, type Fields, respond } from '../wires/route.ts';
import type { Reply } from './command.ts';

export interface HttpReply extends Reply {
  isClosed: boolean;
  /** The command streams: whatever was sent until something ends it is the whole response. */
  isEndless: boolean;
  /** The client is gone. */
  abort(): void;
}

/** Characters from which on a response is sent in chunks. */
const chunkThreshold = 64 * 1024;

const lastChunk = Buffer.from('0\r\n\r\n');

/**
 * @param isText text for people; otherwise JSON
 * @param takesChunks false for HTTP/1.0, where the end of the connection ends the response (RFC 9112 §6.1)
 */
export function newHttpReply(connection: Connection, isText: boolean, takesChunks: boolean): HttpReply {
  let text = '';
  let isHeadSent = false;
  const abortListeners: (() => void)[] = [];
  const doneListeners: (() => void)[] = [];
  const headers = replyFields(isText);

  function sendChunk(): void {
    if (!isHeadSent) {
      // RFC 9112 §7.1: chunked, because the length is not known yet.
      const coding = takesChunks ? { 'Transfer-Encoding': 'chunked' } : {};
      if (reply.isEndless) beginStream(connection);
      beginResponse(connection, 200, { ...headers, ...coding });
    }
    isHeadSent = true;
    const bytes = Buffer.from(text);
    text = '';
    if (bytes.length === 0) return;
    if (takesChunks) sendBytes(connection, Buffer.from(`${bytes.length.toString(16)}\r\n`));
    sendBytes(connection, bytes);
    if (takesChunks) sendBytes(connection, Buffer.from('\r\n'));
  }

  const reply: HttpReply = {
    via: connection.isControl ? 'control socket' : 'HTTP',
    from: connection.isControl ? undefined : connection.address,
    isJson: !isText,
    isClosed: false,
    isEndless: false,

    write(more) {
      if (reply.isClosed) return;
      text += more;
      if (text.length > chunkThreshold) sendChunk();
    },

    flush() {
      if (reply.isClosed) return;
      reply.isEndless = true;
      sendChunk();
    },

    unsent: () => connection.queue.size,

    end(error) {
      if (reply.isClosed) return;
      reply.isClosed = true;
      if (!isHeadSent) {
        respond(
          connection,
          error === undefined ? { status: 200, headers, body: text } : errorReply(error, isText),
        );
      } else if (error === undefined) {
        sendChunk();
        if (takesChunks) sendBytes(connection, lastChunk);
        endResponse(connection);
      } else {
        // Without the last chunk, so the client knows that the response is incomplete (RFC 9112 §8).
        dropConnection(connection);
      }
      for (const listener of doneListeners) listener();
    },

    onAbort: listener => void abortListeners.push(listener),
    onDone: listener => void doneListeners.push(listener),

    abort() {
      if (reply.isClosed) return;
      reply.isClosed = true;
      endResponse(connection);
      for (const listener of abortListeners) listener();
    },
  };
  return reply;
}

/** The end of a stream is not foreseeable, so no request may wait behind it. TCP keep-alive notices a dead reader. */
function beginStream(connection: Connection): void {
  endAfterResponse(connection);
  startSending(connection);
  connection.socket.keepAlive(connection.server.configuration.pingInterval);
}

/** The response to a command that failed. @param more header fields to add */
export function errorReply(error: Error, isText: boolean, more: Fields = {}): HttpResponse {
  const status = error instanceof ProtocolError ? error.code : error instanceof UsageError ? 400 : 500;
  const fields = error instanceof ProtocolError ? error.headers : {};
  const body = isText ? `${printableLine(error.message)}\n` : `${printableJson({ error: error.message })}\n`;
  return { status, headers: { ...replyFields(isText), ...more, ...fields }, body };
}

function replyFields(isText: boolean): Readonly<Record<string, string>> {
  return {
    'Content-Type': isText ? 'text/plain; charset=utf-8' : 'application/json',
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  };
}
