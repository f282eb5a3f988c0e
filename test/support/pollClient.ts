/** A client without WebSocket: HTTP requests as bytes, each on a connection of its own. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connectTcp, exchange } from './rawClient.ts';

export interface Answer {
  /** 0 if the connection ended before the status line. */
  readonly status: number;
  /** By their names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  /** Whether the body is as long as the head announced. */
  readonly isWhole: boolean;
}

export interface Sending {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** The bytes of a request. */
export function requestBytes(method: string, path: string, { headers = {}, body }: Sending = {}): Buffer {
  const content = Buffer.from((body ?? '') as Uint8Array);
  const length = body === undefined ? {} : { 'Content-Length': String(content.length) };
  const lines = Object.entries({ Host: 'x', Connection: 'close', ...length, ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`), content]);
}

/** Sends a request. @returns the answer, when the server has ended the connection */
export async function ask(port: number, method: string, path: string, sending?: Sending): Promise<Answer> {
  return readAnswer(await exchange(port, requestBytes(method, path, sending)));
}

/** Sends a GET whose answer may not end, such as an event stream. @returns its status */
export async function askStatus(
  port: number,
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<number> {
  const socket = await connectTcp(port);
  socket.write(requestBytes('GET', path, { headers }));
  const [bytes] = await once(socket, 'data');
  socket.destroy();
  return readAnswer(bytes).status;
}

export function readAnswer(bytes: Buffer): Answer {
  const end = bytes.indexOf('\r\n\r\n');
  const [statusLine = '', ...fields] = bytes.toString('latin1', 0, Math.max(end, 0)).split('\r\n');
  const headers = new Map(
    fields.map(field => [field.split(':', 1)[0]!.toLowerCase(), field.replace(/^[^:]*: */, '')]),
  );
  const body = bytes.subarray(end + 4);
  return {
    status: Number(statusLine.split(' ')[1] ?? 0),
    headers,
    body: body.toString(),
    isWhole:
      end >= 0 && (!headers.has('content-length') || headers.get('content-length') === `${body.length}`),
  };
}

/** A message has either `text` or `binary`, in base64. */
export interface Polled {
  readonly messages: { readonly seq: number; readonly text?: string; readonly binary?: string }[];
  readonly closed?: { readonly code: number; readonly reason: string };
}

/** Opens a session. @returns its path */
export async function openPolled(port: number, handler: string, sending?: Sending): Promise<string> {
  const { status, body } = await ask(port, 'POST', `/poll/${handler}`, sending);
  assert.equal(status, 201, body);
  return `/poll/s/${(JSON.parse(body) as { session: string }).session}`;
}

/** Polls once. @throws AssertionError if the poll is refused */
export async function pollOnce(port: number, session: string, ack: number): Promise<Polled> {
  const { status, body } = await ask(port, 'GET', `${session}?ack=${ack}`);
  assert.equal(status, 200, body);
  return JSON.parse(body) as Polled;
}

/** Posts a message. @returns its number */
export async function post(
  port: number,
  session: string,
  body: string | Uint8Array,
  seq?: number,
): Promise<number> {
  const type = typeof body === 'string' ? 'text/plain' : 'application/octet-stream';
  const answer = await ask(port, 'POST', session + (seq === undefined ? '' : `?seq=${seq}`), {
    headers: { 'Content-Type': type },
    body,
  });
  assert.equal(answer.status, 200, answer.body);
  return (JSON.parse(answer.body) as { seq: number }).seq;
}

/** Polls until `count` messages have arrived or the session is closed. @returns the messages */
export async function pollMany(port: number, session: string, count: number, ack = 0): Promise<Polled> {
  const messages: Polled['messages'] = [];
  let last = ack;
  for (;;) {
    const polled = await pollOnce(port, session, last);
    messages.push(...polled.messages);
    last = messages.at(-1)?.seq ?? last;
    if (messages.length >= count || polled.closed !== undefined) return { ...polled, messages };
  }
}

export interface Stream {
  readonly socket: Socket;
  /** Everything that has arrived, with the head. */
  text(): string;
  /** Waits until `part` has arrived. @throws Error if the stream ends without it */
  until(part: string): Promise<void>;
  /** Resolves when the server has ended the stream. */
  readonly ended: Promise<unknown>;
}

/** An event stream. */
export async function openStream(
  port: number,
  session: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Stream> {
  const socket = await connectTcp(port);
  let text = '';
  let isOver = false;
  socket.setEncoding('utf8').on('data', piece => {
    text += piece;
  });
  const ended = once(socket, 'end').then(() => {
    isOver = true;
    socket.end();
  });
  socket.write(requestBytes('GET', session, { headers: { Accept: 'text/event-stream', ...headers } }));
  return {
    socket,
    text: () => text,
    ended,
    async until(part) {
      while (!text.includes(part)) {
        if (isOver) throw new Error(`the stream ended before ${JSON.stringify(part)}: ${text}`);
        await Promise.race([once(socket, 'data'), ended]);
      }
    },
  };
}
