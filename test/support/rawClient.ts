/** A WebSocket client that sends any bytes and shows the frames that come back. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectSecurely, type TLSSocket } from 'node:tls';
import { FrameReader, type RawFrame } from './rawFrame.ts';

/** How the server ended its direction: with a FIN, or with a reset, which may destroy bytes sent before it. */
export type EndOfStream = 'FIN' | string;

export interface RawClient {
  readonly socket: Socket;
  /** The server's response to the handshake. */
  readonly status: number;
  /** By their names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Writes the bytes as they are. */
  send(...pieces: Uint8Array[]): void;
  /** Writes the bytes in chops of `size`, one per turn of the loop. */
  sendChopped(bytes: Buffer, size: number): Promise<void>;
  /** Waits for the next frame; undefined once the server has ended its direction. */
  nextFrame(): Promise<RawFrame | undefined>;
  /** Waits for the end of the stream. @returns all remaining frames */
  remainingFrames(): Promise<RawFrame[]>;
  /** Frames that have arrived and were not taken yet. */
  readonly pending: readonly RawFrame[];
  /** 'FIN' or an error code such as 'ECONNRESET'. */
  readonly ended: Promise<EndOfStream>;
  /** Half-closes and waits until both directions have ended. @throws Error if the connection was reset */
  end(): Promise<void>;
  /** Drops the connection. */
  destroy(): void;
}

export interface ConnectOptions {
  readonly path?: string;
  /** Added to the standard header fields; `null` removes one. */
  readonly headers?: Readonly<Record<string, string | null>>;
  /** Default: 127.0.0.1. */
  readonly host?: string;
  /** Connects over TLS with these options. */
  readonly tls?: ConnectionOptions;
  /** Sent first, before TLS. */
  readonly before?: Uint8Array;
}

const handshakeHeaders = {
  Host: '127.0.0.1',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version': '13',
};

/** The bytes of an opening handshake. */
export function handshakeRequest({ path = '/', headers = {} }: ConnectOptions = {}): string {
  const lines = Object.entries({ ...handshakeHeaders, ...headers })
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** Connects over TCP. The socket stays half open after the server's FIN, so that a test sees who ends first. */
export async function connectTcp(port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host, allowHalfOpen: true, noDelay: true });
  await once(socket, 'connect');
  return socket;
}

/**
 * Connects over TLS and accepts any certificate. The socket stays half open as with `connectTcp`.
 * @param before sent first, before TLS
 */
export async function connectTls(
  port: number,
  options: ConnectionOptions = {},
  before?: Uint8Array,
): Promise<TLSSocket> {
  const tcp = await connectTcp(port, options.host);
  if (before !== undefined) tcp.write(before);
  const socket = connectSecurely({ rejectUnauthorized: false, ...options, socket: tcp });
  await once(socket, 'secureConnect');
  return socket;
}

/** @returns everything that arrives until the peer ends its direction */
export async function readToEnd(socket: Socket): Promise<Buffer> {
  return Buffer.concat((await socket.toArray()) as Buffer[]);
}

/** Sends the bytes. @returns everything that the server sends until it ends its direction */
export async function exchange(port: number, bytes: string | Uint8Array): Promise<Buffer> {
  const socket = await connectTcp(port);
  socket.write(bytes);
  const answer = await readToEnd(socket);
  socket.destroy();
  return answer;
}

/** Makes a handshake over a Unix socket. @returns the status line */
export async function statusLineAt(path: string): Promise<string> {
  const socket = connect({ path });
  socket.write(handshakeRequest());
  const [bytes] = await once(socket, 'data');
  socket.destroy();
  return bytes.toString('latin1').split('\r\n')[0];
}

/** Connects and makes the handshake. @throws Error if the server refuses it */
export async function connectRaw(port: number, options: ConnectOptions = {}): Promise<RawClient> {
  const client = await tryRaw(port, options);
  if (client.status !== 101) {
    client.destroy();
    throw new Error(`the handshake was answered with ${client.status}`);
  }
  return client;
}

/** Like `connectRaw`, whatever the server's answer is. */
export async function tryRaw(port: number, options: ConnectOptions = {}): Promise<RawClient> {
  const { host, tls, before } = options;
  const socket =
    tls === undefined ? await connectTcp(port, host) : await connectTls(port, { host, ...tls }, before);
  if (tls === undefined && before !== undefined) socket.write(before);
  const reader = new FrameReader();
  const pending: RawFrame[] = [];
  let wake = () => {};
  let isOver = false;
  let failure: Error | undefined;
  const ended = new Promise<EndOfStream>(resolve => {
    const end = (how: EndOfStream) => {
      isOver = true;
      resolve(how);
      wake();
    };
    socket.once('end', () => end('FIN'));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure = error;
      end(error.code ?? error.message);
    });
    socket.once('close', () => end('closed'));
  });
  const woken = () =>
    new Promise<void>(resolve => {
      wake = resolve;
    });

  let head: string | undefined;
  socket.on('data', bytes => {
    reader.add(bytes);
    if (head === undefined) {
      const end = reader.rest().indexOf('\r\n\r\n');
      if (end < 0) return;
      head = reader.take(end + 4).toString('latin1');
    }
    for (let next = reader.next(); next !== undefined; next = reader.next()) pending.push(next);
    wake();
  });
  socket.write(handshakeRequest(options));
  while (head === undefined && !isOver) await woken();
  const [statusLine = '', ...fields] = (head ?? '').trimEnd().split('\r\n');
  const headers = new Map(
    fields.map(field => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
    }),
  );

  const client: RawClient = {
    socket,
    status: Number(statusLine.split(' ')[1] ?? 0),
    headers,
    pending,
    ended,

    send(...pieces) {
      for (const piece of pieces) socket.write(piece);
    },

    async sendChopped(bytes, size) {
      for (let at = 0; at < bytes.length && socket.writable; at += size) {
        if (!socket.write(bytes.subarray(at, at + size))) await Promise.race([once(socket, 'drain'), ended]);
        await new Promise(setImmediate);
      }
    },

    async nextFrame() {
      while (pending.length === 0 && !isOver) await woken();
      return pending.shift();
    },

    async remainingFrames() {
      await ended;
      return pending.splice(0);
    },

    async end() {
      socket.end();
      if (!socket.closed) await once(socket, 'close');
      if (failure !== undefined) throw failure;
    },

    destroy() {
      socket.destroy();
    },
  };
  return client;
}
