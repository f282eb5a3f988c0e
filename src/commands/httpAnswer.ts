/** The answer to a command over HTTP: in one piece while it is short; one that goes on, in chunks as it comes. */
import type { Connection } from '../core/connection.ts';
import { dropConnection, endConnection } from '../core/outbox.ts';
import { sendBytes } from '../core/send.ts';
import { printableJson, printableLine } from '../log/printable.ts';
import { UsageError } from '../options/error.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { encodeResponse } from '../protocol/http/head.ts';
import { respond } from '../wires/route.ts';
import type { Answer } from './command.ts';

export interface HttpAnswer extends Answer {
  isGone: boolean;
  /** It goes on until something ends it: what was said until then is the whole. */
  isEndless: boolean;
  /** Its peer is gone. */
  leave(): void;
}

/** Characters from which on an answer is sent in chunks. */
const streamFrom = 64 * 1024;

const lastChunk = Buffer.from('0\r\n\r\n');

/**
 * @param isText as people read it; otherwise JSON
 * @param takesChunks whether whoever asked knows them: HTTP/1.0 does not (RFC 9112 §6.1), and takes the end of the
 *   connection for the end of the answer
 */
export function newHttpAnswer(connection: Connection, isText: boolean, takesChunks: boolean): HttpAnswer {
  let text = '';
  let isStreaming = false;
  const leavers: (() => void)[] = [];
  const followers: (() => void)[] = [];
  const headers = answerFields(isText);

  function sendChunk(): void {
    if (!isStreaming) sendBytes(connection, encodeStreamHead(headers, takesChunks));
    isStreaming = true;
    const bytes = Buffer.from(text);
    text = '';
    if (bytes.length === 0) return;
    if (takesChunks) sendBytes(connection, Buffer.from(`${bytes.length.toString(16)}\r\n`));
    sendBytes(connection, bytes);
    if (takesChunks) sendBytes(connection, Buffer.from('\r\n'));
  }

  const answer: HttpAnswer = {
    via: connection.isControl ? 'control socket' : 'HTTP',
    from: connection.isControl ? undefined : connection.address,
    isJson: !isText,
    isGone: false,
    isEndless: false,

    write(more) {
      if (answer.isGone) return;
      text += more;
      if (text.length > streamFrom) sendChunk();
    },

    flush() {
      if (answer.isGone) return;
      answer.isEndless = true;
      sendChunk();
    },

    unsent: () => connection.queue.size,

    end(error) {
      if (answer.isGone) return;
      answer.isGone = true;
      if (!isStreaming) {
        respond(
          connection,
          error === undefined ? encodeResponse(200, headers, text) : encodeError(error, isText),
        );
      } else if (error === undefined) {
        sendChunk();
        if (takesChunks) sendBytes(connection, lastChunk);
        endConnection(connection);
      } else {
        // What was sent must not look like the whole.
        dropConnection(connection);
      }
      for (const then of followers) then();
    },

    whenGone: then => void leavers.push(then),
    afterwards: then => void followers.push(then),

    leave() {
      if (answer.isGone) return;
      answer.isGone = true;
      endConnection(connection);
      for (const then of leavers) then();
    },
  };
  return answer;
}

/** RFC 9112 §7.1: how long it is, nobody knows yet. */
function encodeStreamHead(headers: Readonly<Record<string, string>>, takesChunks: boolean): Buffer {
  const coding = takesChunks ? { 'Transfer-Encoding': 'chunked' } : {};
  return encodeResponse(200, { ...headers, ...coding }, undefined);
}

/** @param method of the request, whose answer has no content where that is HEAD (RFC 9110 §9.3.2) */
export function encodeError(error: Error, isText: boolean, method = 'POST'): Buffer {
  const status = error instanceof ProtocolError ? error.code : error instanceof UsageError ? 400 : 500;
  const its = error instanceof ProtocolError ? error.headers : {};
  const body = isText ? `${printableLine(error.message)}\n` : `${printableJson({ error: error.message })}\n`;
  const headers = { ...answerFields(isText), 'Content-Length': String(Buffer.byteLength(body)), ...its };
  return encodeResponse(status, headers, method === 'HEAD' ? '' : body);
}

function answerFields(isText: boolean): Readonly<Record<string, string>> {
  return {
    'Content-Type': isText ? 'text/plain; charset=utf-8' : 'application/json',
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  };
}
