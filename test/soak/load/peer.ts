/** A client of the load. It only counts what arrives, and no end of the connection is an error. */
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectSecurely } from 'node:tls';
import { handshakeRequest } from '../../support/rawClient.ts';
import type { Target } from './load.ts';

const KiB = 1024;

export interface Peer {
  readonly socket: Socket;
  readonly isOpen: boolean;
  /** The number of bytes that have arrived after the handshake. */
  readonly received: number;
  /** Called with each read. The bytes are valid during the call. */
  onBytes: ((bytes: Buffer) => void) | undefined;
  readonly closed: Promise<void>;
  /** @returns false if the connection ends before the kernel has taken all bytes */
  write(bytes: Uint8Array): Promise<boolean>;
  /** Waits for `count` more bytes. @returns false if the connection ends first */
  receive(count: number): Promise<boolean>;
  /** Ends the connection at once, by a reset, which frees the port; over TLS, where Node has no reset, by a FIN. */
  reset(): void;
}

export interface PeerOptions {
  readonly isSecure?: boolean;
  /** Added to the handshake's. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The read buffer of all connections of a process: each read is used up before the next one. */
const readBuffer = Buffer.allocUnsafe(256 * KiB);

/** The addresses of 127.0.1.0/24 in turn, so that limits per address do not protect the server. */
let dialed = 0;
const ownAddress = () => `127.0.1.${1 + (dialed++ % 250)}`;

/** Connects by TCP, or TLS. @returns undefined if that fails */
export function connectPeer({ port }: Target, { isSecure = false }: PeerOptions = {}) {
  return new Promise<Peer | undefined>(resolve => {
    let isOpen = true;
    let received = 0;
    let wanted = Number.POSITIVE_INFINITY;
    let wake = (_: boolean) => {};
    const options: NetConnectOpts & ConnectionOptions = {
      host: '127.0.0.1',
      port,
      localAddress: ownAddress(),
      noDelay: true,
      rejectUnauthorized: false,
      onread: {
        buffer: readBuffer,
        callback(length) {
          received += length;
          peer.onBytes?.(readBuffer.subarray(0, length));
          if (received >= wanted) wake(true);
          return true;
        },
      },
    };
    const socket = isSecure ? connectSecurely(options) : connect(options);
    const closed = new Promise<void>(closing => {
      socket.once('close', () => {
        isOpen = false;
        closing();
        wake(false);
        resolve(undefined);
      });
    });
    const peer: Peer = {
      socket,
      get isOpen() {
        return isOpen;
      },
      get received() {
        return received;
      },
      onBytes: undefined,
      closed,
      // Node reports a write that the kernel takes at once before it polls again. A client that awaits one write after the other
      // would then keep the process's other clients from theirs.
      write: bytes => new Promise(done => socket.write(bytes, error => setImmediate(done, error == null))),
      receive(count) {
        wanted = received + count;
        return new Promise(done => {
          wake = done;
          if (!isOpen) done(false);
        });
      },
      reset: () => (isSecure ? socket.destroy() : socket.resetAndDestroy()),
    };
    // 'close' follows, which is handled.
    socket.on('error', () => {});
    socket.once(isSecure ? 'secureConnect' : 'connect', () => resolve(peer));
  });
}

/** Connects and completes the opening handshake. @returns undefined if the server does not admit the client */
export async function openPeer(
  target: Target,
  path: string,
  options: PeerOptions = {},
): Promise<Peer | undefined> {
  const peer = await connectPeer(target, options);
  if (peer === undefined) return undefined;
  const { headers = {} } = options;
  peer.socket.write(handshakeRequest({ path, headers }));
  const head = await readHead(peer);
  if (head.startsWith('HTTP/1.1 101 ')) return peer;
  peer.reset();
  return undefined;
}

/** @returns the bytes so far, if the connection ends before the whole head */
function readHead(peer: Peer): Promise<string> {
  return new Promise(resolve => {
    let head = '';
    peer.onBytes = bytes => {
      head += bytes.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      peer.onBytes = undefined;
      resolve(head);
    };
    peer.closed.then(() => resolve(head));
  });
}

export interface Reply {
  /** 0 if the connection ended before there was one. */
  readonly status: number;
  readonly body: string;
}

const longestReply = 64 * KiB;

/** Sends an HTTP request on a connection of its own. @returns the answer, with the beginning of a long body */
export async function ask(target: Target, request: Uint8Array): Promise<Reply> {
  const peer = await connectPeer(target);
  if (peer === undefined) return { status: 0, body: '' };
  let text = '';
  peer.onBytes = bytes => {
    if (text.length < longestReply) text += bytes.toString('latin1');
  };
  peer.socket.write(request);
  await peer.closed;
  const [head = '', body = ''] = text.split('\r\n\r\n', 2);
  return { status: Number(head.split(' ', 2)[1] ?? 0), body };
}
