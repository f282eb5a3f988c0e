/** A WebSocket client that is nothing but a TCP socket: it sends the bytes it is given and shows what came back. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectSecurely, type TLSSocket } from 'node:tls';
import { FrameReader, type RawFrame } from './rawFrame.ts';

/** How the server ended its direction: in order (FIN), or with a reset, which may eat what was sent before. */
export type EndOfStream = 'FIN' | string;

export interface RawClient {
  readonly socket: Socket;
  /** The server's response to the handshake. */
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Writes the bytes as they are. */
  send(...pieces: Uint8Array[]): void;
  /** Writes the bytes in chops of `size`, each by itself, and lets the system send each before the next. */
  sendChopped(bytes: Buffer, size: number): Promise<void>;
  /** The next frame that came or comes; undefined when the server has ended its direction. */
  nextFrame(): Promise<RawFrame | undefined>;
  /** All frames from here to the end of the stream. */
  remainingFrames(): Promise<RawFrame[]>;
  /** Frames that came and were not asked for yet. */
  readonly pending: readonly RawFrame[];
  /** 'FIN', or the system's name of the error: 'ECONNRESET'. */
  readonly ended: Promise<EndOfStream>;
  /** Ends our direction and resolves when the connection is closed both ways. @throws Error where it was reset */
  end(): Promise<void>;
  /** A reset, or whatever the system does with a socket dropped in mid-air. */
  destroy(): void;
}

export interface ConnectOptions {
  readonly path?: string;
  /** Added to the handshake's own; a value `null` takes one of those out. */
  readonly headers?: Readonly<Record<string, string | null>>;
  /** 127.0.0.1 if not given. */
  readonly host?: string;
  /** By TLS, and how. */
  readonly tls?: ConnectionOptions;
  /** Sent before all else, in the clear. */
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

/** Connects by TCP alone; half open, so that who ends first can be seen. */
export async function connectTcp(port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host, allowHalfOpen: true, noDelay: true });
  await once(socket, 'connect');
  return socket;
}

/**
 * Connects by TLS, whatever the certificate; half open, likewise.
 * @param before sent first, in the clear
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

/** Sends `bytes` and gives all that comes back until the server ends its direction. */
export async function exchange(port: number, bytes: string | Uint8Array): Promise<Buffer> {
  const socket = await connectTcp(port);
  socket.write(bytes);
  const answer: Buffer[] = [];
  for await (const chunk of socket) answer.push(chunk as Buffer);
  socket.destroy();
  return Buffer.concat(answer);
}

/** Connects and makes the handshake. @throws Error where the server refuses it */
export async function connectRaw(port: number, options: ConnectOptions = {}): Promise<RawClient> {
  const client = await tryRaw(port, options);
  if (client.status !== 101) {
    client.destroy();
    throw new Error(`the handshake was answered with ${client.status}`);
  }
  return client;
}

/** The same whatever the answer is. */
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
