/** The probes of `pollywog check`: requests as a browser sends them, with what arrived and when. */
import { randomBytes } from 'node:crypto';
import { type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import type { Socket } from 'node:net';

/** What the probes have in common. */
export interface CheckTarget {
  /** Of the site: `https://example.com/chat`, without a slash at the end. */
  readonly base: string;
  readonly token: string | undefined;
  /** Milliseconds to wait for an answer. */
  readonly patience: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** What arrived until the answer ended, or until the patience did. */
  readonly body: string;
  readonly isWhole: boolean;
}

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
  // The certificate is checked by a step of its own.
  return ask(url, {
    method,
    headers: { Origin: origin, ...headers },
    agent: false,
    rejectUnauthorized: false,
  });
}

/** Sends a request. @returns undefined if no answer began in time @throws Error if the connection failed */
export function ask(target: CheckTarget, path: string, asked: Asked = {}): Promise<Answer | undefined> {
  const sent = open(target, path, asked);
  return new Promise((resolve, reject) => {
    let settle: (isWhole: boolean) => void = () => resolve(undefined);
    const timer = setTimeout(() => {
      settle(false);
      sent.destroy();
    }, target.patience);
    sent.on('error', error => {
      clearTimeout(timer);
      reject(error);
    });
    sent.on('response', response => {
      let body = '';
      settle = isWhole => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body, isWhole });
      };
      response.setEncoding('utf8');
      response.on('data', piece => {
        body += piece;
        if (asked.isEnough?.(body) !== true) return;
        settle(false);
        sent.destroy();
      });
      response.on('end', () => settle(true)).on('error', () => settle(false));
    });
    sent.end(asked.body);
  });
}

/** A WebSocket, as far as the check needs one. */
export interface OpenSocket {
  readonly headers: IncomingMessage['headers'];
  /** @param opcode 1 text, 8 close, 10 pong */
  send(opcode: number, payload: Buffer): void;
  /** Resolves when a message or a close frame arrives; undefined if the time is over, 'lost' if the connection is. */
  next(time: number): Promise<{ opcode: number; payload: Buffer } | 'lost' | undefined>;
  destroy(): void;
}

/** Opens a WebSocket. @returns the answer if it was not 101, undefined if there was none */
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
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      resolve(undefined);
      sent.destroy();
    }, target.patience);
    sent.on('error', error => {
      clearTimeout(timer);
      reject(error);
    });
    sent.on('upgrade', (response, socket, head) => {
      clearTimeout(timer);
      resolve(newOpenSocket(response, socket as Socket, head));
    });
    sent.on('response', response => {
      let body = '';
      const settle = (isWhole: boolean) => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body, isWhole });
      };
      response.setEncoding('utf8').on('data', piece => {
        body += piece;
      });
      response.on('end', () => settle(true)).on('error', () => settle(false));
    });
    sent.end();
  });
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
      // RFC 6455 §5.1: a client masks its frames. The payloads of the check are short.
      const key = randomBytes(4);
      const masked = payload.map((byte, at) => byte ^ key[at % 4]!);
      socket.write(Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), key, masked]));
    },
    async next(time) {
      const end = performance.now() + time;
      for (;;) {
        const frame = takeFrame();
        // A ping is answered, as a browser does.
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
