/** The answer to a command over HTTP: in one piece while it is short; one that goes on, in chunks as it comes. */
import type { Connection } from '../connection/connection.ts';
import { dropConnection, endConnection } from '../connection/outbox.ts';
import { sendBytes } from '../connection/send.ts';
import { UsageError } from '../options/error.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { encodeResponse } from '../protocol/http.ts';
import { respond } from '../wire/route.ts';
import type { Answer } from './command.ts';

export interface HttpAnswer extends Answer {
  isGone: boolean;
  /** Its head was sent. */
  isStreaming: boolean;
  /** Its peer is gone. */
  leave(): void;
}

/** Characters from which on an answer is sent in chunks. */
const streamFrom = 64 * 1024;

const lastChunk = Buffer.from('0\r\n\r\n');

/** @param isText as people read it; otherwise JSON */
export function newHttpAnswer(connection: Connection, isText: boolean): HttpAnswer {
  let text = '';
  const leavers: (() => void)[] = [];
  const followers: (() => void)[] = [];
  const headers = {
    'Content-Type': isText ? 'text/plain; charset=utf-8' : 'application/json',
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  };

  function sendChunk(): void {
    if (!answer.isStreaming) sendBytes(connection, encodeStreamHead(headers));
    answer.isStreaming = true;
    const bytes = Buffer.from(text);
    text = '';
    if (bytes.length === 0) return;
    sendBytes(connection, Buffer.from(`${bytes.length.toString(16)}\r\n`));
    sendBytes(connection, bytes);
    sendBytes(connection, Buffer.from('\r\n'));
  }

  const answer: HttpAnswer = {
    isJson: !isText,
    isGone: false,
    isStreaming: false,

    write(more) {
      if (answer.isGone) return;
      text += more;
      if (text.length > streamFrom) sendChunk();
    },

    flush() {
      if (!answer.isGone) sendChunk();
    },

    unsent: () => connection.queue.size,

    end(error) {
      if (answer.isGone) return;
      answer.isGone = true;
      if (!answer.isStreaming) {
        respond(
          connection,
          error === undefined ? encodeResponse(200, headers, text) : encodeError(error, isText, headers),
        );
      } else if (error === undefined) {
        sendChunk();
        sendBytes(connection, lastChunk);
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
function encodeStreamHead(headers: Readonly<Record<string, string>>): Buffer {
  return encodeResponse(200, { ...headers, 'Transfer-Encoding': 'chunked' }, undefined);
}

function encodeError(error: Error, isText: boolean, headers: Readonly<Record<string, string>>): Buffer {
  const status = error instanceof ProtocolError ? error.code : error instanceof UsageError ? 400 : 500;
  const its = error instanceof ProtocolError ? error.headers : {};
  const body = isText ? `${error.message}\n` : `${JSON.stringify({ error: error.message })}\n`;
  return encodeResponse(status, { ...headers, ...its }, body);
}
