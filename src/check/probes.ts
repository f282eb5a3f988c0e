/** The probes of `pollywog check`: requests and WebSockets as a browser sends them. */
import { randomBytes } from 'node:crypto';
import { type ClientRequest, type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import type { Socket } from 'node:net';

export interface CheckTarget {
  /** The URL of the site, without a slash at the end: `https://example.com/chat`. */
  readonly base: string;
  readonly token: string | undefined;
  /** Trusted CA certificates in PEM; empty: those of the system. */
  readonly authorities: readonly Buffer[];
  /** Whether browsers accept the certificate. Otherwise the token is not sent. */
  isTrusted: boolean;
  /** Milliseconds to wait for an answer. */
  readonly timeout: number;
  /** The WebSocket that answers each message: `/echo`, or a channel if the proxy passes on only channels. */
  socketPath: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** The part that arrived in time, up to `maxBody` characters. */
  readonly body: string;
}

/** More than any answer that the check reads. */
const maxBody = 64 * 1024;

interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Enough of the body has arrived. */
  isEnough?(body: string): boolean;
}

function open(target: CheckTarget, path: string, { method = 'GET', headers = {} }: Asked) {
  const url = new URL(target.base + path);
  const origin = url.origin;
  const ask = url.protocol === 'https:' ? requestSecure : requestPlain;
  return ask(url, {
    method,
    headers: { Origin: origin, ...headers },
    agent: false,
    // A step of its own checks the certificate, but each connection that gets the token must have a good one.
    rejectUnauthorized: headers['Authorization'] !== undefined,
    ...trustOf(target),
  });
}

/** The option of TLS for the trusted authorities. */
export function trustOf({ authorities }: CheckTarget): { ca?: Buffer[] } {
  return authorities.length === 0 ? {} : { ca: [...authorities] };
}

/** Sends a request. @returns undefined if no answer began in time @throws Error if the connection failed */
export function ask(target: CheckTarget, path: string, asked: Asked = {}): Promise<Answer | undefined> {
  const sent = open(target, path, asked);
  const answer = readAnswer(sent, target.timeout, asked.isEnough);
  sent.end(asked.body);
  return answer;
}

function readAnswer(
  sent: ClientRequest,
  timeout: number,
  isEnough: (body: string) => boolean = () => false,
): Promise<Answer | undefined> {
  return new Promise((resolve, reject) => {
    let status: number | undefined;
    let headers: Answer['headers'] = {};
    let body = '';
    const settle = () => {
      clearTimeout(timer);
      resolve(status === undefined ? undefined : { status, headers, body });
      sent.destroy();
    };
    const timer = setTimeout(settle, timeout);
    sent.on('upgrade', () => clearTimeout(timer));
    sent.on('error', error => {
      clearTimeout(timer);
      reject(error);
    });
    sent.on('response', response => {
      status = response.statusCode ?? 0;
      headers = response.headers;
      response.setEncoding('utf8').on('data', piece => {
        body += piece;
        if (isEnough(body) || body.length >= maxBody) settle();
      });
      response.on('end', settle).on('error', settle);
    });
  });
}

/** A WebSocket for short messages. */
export interface OpenSocket {
  readonly headers: IncomingMessage['headers'];
  /** @param opcode 1 text, 8 close, 10 pong */
  send(opcode: number, payload: Buffer): void;
  /** Waits for a message or a close frame. @returns undefined after `time` ms, 'lost' if the connection ended */
  next(time: number): Promise<{ opcode: number; payload: Buffer } | 'lost' | undefined>;
  destroy(): void;
}

/** Opens a WebSocket. @returns an answer other than 101, or undefined if none began in time */
export function upgrade(
  target: CheckTarget,
  path: string,
  compress: boolean,
): Promise<OpenSocket | Answer | undefined> {
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    ...(compress ? { 'Sec-WebSocket-Extensions': 'permessage-deflate' } : {}),
  };
  const sent = open(target, path, { headers });
  const opened = new Promise<OpenSocket>(resolve =>
    sent.on('upgrade', (response, socket, head) => resolve(newOpenSocket(response, socket as Socket, head))),
  );
  const refused = readAnswer(sent, target.timeout);
  sent.end();
  return Promise.race([opened, refused]);
}

function newOpenSocket({ headers }: IncomingMessage, socket: Socket, head: Buffer): OpenSocket {
  let received = head;
  let isLost = false;
  let wake = () => {};
  socket.on('data', piece => {
    received = Buffer.concat([received, piece]);
    wake();
  });
  const lose = () => {
    isLost = true;
    wake();
  };
  socket.on('error', lose).on('close', lose).on('end', lose);
  const client: OpenSocket = {
    headers,
    send(opcode, payload) {
      // RFC 6455 §5.1: a client masks its frames. The payload is shorter than 126 bytes.
      const key = randomBytes(4);
      const masked = payload.map((byte, at) => byte ^ key[at % 4]!);
      socket.write(Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), key, masked]));
    },
    async next(time) {
      const end = performance.now() + time;
      for (;;) {
        const frame = takeFrame();
        // Answers pings, as a browser does.
        if (frame?.opcode === 9) client.send(10, frame.payload);
        else if (frame !== undefined) return frame;
        else if (isLost) return 'lost';
        else if (performance.now() >= end) return undefined;
        else await waitForMore(end - performance.now());
      }
    },
    destroy: () => socket.destroy(),
  };

  function takeFrame() {
    if (received.length < 2) return undefined;
    const short = received[1]! & 0x7f;
    const start = short === 126 ? 4 : 2;
    if (received.length < start) return undefined;
    const end = start + (short === 126 ? received.readUInt16BE(2) : short);
    if (received.length < end) return undefined;
    const frame = { opcode: received[0]! & 0x0f, payload: received.subarray(start, end) };
    received = received.subarray(end);
    return frame;
  }

  function waitForMore(time: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, time);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
  return client;
}
