/**
 * A socket on Node's bare handle: the native object beneath `net.Socket`, without the streams.
 *
 * This file uses undocumented parts of Node: `process.binding`, and the methods of a TCP or pipe handle. Four other files use
 * a few: listeners.ts accepts handles, tls.ts gets the handshake's errors, streamSocket.ts stops the handle of a TLS stream,
 * and deflate.ts calls into zlib. All sockets read into the same buffer, and a write that the system accepts at once
 * allocates nothing but a view, so a connection opens faster and takes a fraction of the memory. If `isUsableHandle` finds a
 * handle of another shape, or with `--sockets stream`, streamSocket.ts does the same with Node's documented API.
 */
import { Socket as NetSocket, type SocketConstructorOpts } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { onWriteComplete } from '../core/flush.ts';
import { onData, onEnd } from '../core/poll.ts';
import { showPeer } from '../protocol/ipAddress.ts';
import { ioArena } from '../protocol/websocket/mask.ts';
import { type Range, readBufferSize } from '../records/arena.ts';
import type { Connection, Socket } from '../records/records.ts';

interface WriteRequest {
  oncomplete: (this: WriteRequest, status: number) => void;
  /** The writer, and the bytes that the system still reads, which must not be garbage-collected. */
  socket: HandleSocket | undefined;
  bytes: Uint8Array | Uint8Array[] | undefined;
}

/** Node's `TCP` or `Pipe` of an accepted connection. Methods return 0, or a negative system error number. */
interface SocketHandle {
  socket: HandleSocket;
  onread: (this: SocketHandle) => void;
  readonly writeQueueSize: number;
  useUserBuffer(bytes: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  writev(request: WriteRequest, bytes: Uint8Array[], areAllBuffers: boolean): number;
  shutdown(request: object): number;
  close(): void;
  unref(): void;
  /** TCP only. */
  reset?(): number;
  setNoDelay?(on: boolean): number;
  setKeepAlive?(on: boolean, seconds: number): number;
  getpeername?(into: object): number;
}

interface StreamBinding {
  WriteWrap: new () => WriteRequest;
  ShutdownWrap: new () => { oncomplete: () => void };
  /** The results of the last call, at the indexes below. */
  streamBaseState: Int32Array;
  kReadBytesOrError: number;
  kLastWriteWasAsync: number;
}

function loadBinding(): StreamBinding | undefined {
  try {
    const { binding } = process as unknown as { binding(name: string): Partial<StreamBinding> };
    const found = binding('stream_wrap');
    const isAsExpected =
      typeof found.WriteWrap === 'function' &&
      typeof found.ShutdownWrap === 'function' &&
      found.streamBaseState instanceof Int32Array &&
      typeof found.kReadBytesOrError === 'number' &&
      typeof found.kLastWriteWasAsync === 'number';
    return isAsExpected ? (found as StreamBinding) : undefined;
  } catch {
    return undefined;
  }
}

const binding = loadBinding();
const methods = [
  'useUserBuffer',
  'readStart',
  'readStop',
  'writeBuffer',
  'writev',
  'shutdown',
  'close',
  'unref',
];

/** The prototype of the last handle that passed `isUsableHandle`: the check runs once for each kind of handle. */
let checkedPrototype: unknown;

/** Whether an accepted handle has all the methods that `HandleSocket` calls. */
export function isUsableHandle(handle: unknown): handle is SocketHandle {
  if (binding === undefined || typeof handle !== 'object' || handle === null) return false;
  const kind = Object.getPrototypeOf(handle);
  if (kind === checkedPrototype && kind !== null) return true;
  const isFit = methods.every(name => typeof (handle as Record<string, unknown>)[name] === 'function');
  if (isFit) checkedPrototype = kind;
  return isFit;
}

// Without the binding, `isUsableHandle` accepts no handle.
const { WriteWrap, ShutdownWrap, streamBaseState, kReadBytesOrError, kLastWriteWasAsync } = (binding ??
  {}) as StreamBinding;

/** The buffer that every socket reads into. The system has its address, so it must not be garbage-collected. */
const readBuffer = ioArena.subarray(0, readBufferSize);

function onRead(this: SocketHandle): void {
  const count = streamBaseState[kReadBytesOrError]!;
  const { connection } = this.socket;
  if (connection === undefined) return;
  if (count > 0) {
    onData(connection, ioArena, count);
  } else if (count < 0) {
    const error = errorName(count);
    // Until the descriptor is closed, every poll reports the error again. Unread input may still need the handle.
    if (error !== undefined && connection.input === undefined) this.close();
    onEnd(connection, error);
  }
}

/** @returns undefined for the end of the stream, which is not an error */
function errorName(error: number): string | undefined {
  const name = getSystemErrorName(error);
  return name === 'EOF' ? undefined : name;
}

/** The request to use next: most writes complete within the call, so their request is free again. */
let spareRequest: WriteRequest | undefined;

function newRequest(): WriteRequest {
  const request = new WriteWrap();
  request.oncomplete = onWritten;
  request.socket = undefined;
  request.bytes = undefined;
  return request;
}

function onWritten(this: WriteRequest, status: number): void {
  const { socket } = this;
  if (socket?.connection === undefined) return;
  socket.isBusy = false;
  onWriteComplete(socket.connection, status < 0 ? errorName(status) : undefined);
}

/** The last view that was written: a fan-out writes the same range to many sockets. */
let lastBytes: Buffer | undefined;
let lastStart = 0;
let lastEnd = 0;
let lastView: Uint8Array = readBuffer;

function viewOf(bytes: Buffer, start: number, end: number): Uint8Array {
  lastBytes = bytes;
  lastStart = start;
  lastEnd = end;
  lastView = new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
  return lastView;
}

/** The result of `getpeername`. */
const peer = { address: '', family: '', port: 0 };

export class HandleSocket implements Socket {
  isBusy = false;
  connection: Connection | undefined;
  readonly handle: SocketHandle;

  constructor(handle: SocketHandle) {
    this.handle = handle;
    handle.socket = this;
    handle.onread = onRead;
    handle.useUserBuffer(readBuffer);
    // The flush batches output once a turn, so Nagle's algorithm would only delay it.
    handle.setNoDelay?.(true);
  }

  start(connection: Connection): void {
    this.connection = connection;
    this.handle.readStart();
  }

  /**
   * Wraps the handle in a `net.Socket` for TLS, which reads from the handle itself; this socket is not used any more.
   * @param unread bytes that the stream delivers first
   */
  release(unread: Buffer): NetSocket {
    this.connection = undefined;
    // Node's streams fail on a handle that is already being read.
    this.handle.readStop();
    const options = { handle: this.handle, allowHalfOpen: true, manualStart: true };
    const stream = new NetSocket(options as SocketConstructorOpts);
    stream.unshift(unread);
    return stream;
  }

  unsent(): number {
    return this.handle.writeQueueSize;
  }

  writeOne(bytes: Buffer, start: number, end: number): number {
    const isSame = bytes === lastBytes && start === lastStart && end === lastEnd;
    const view = isSame ? lastView : viewOf(bytes, start, end);
    spareRequest ??= newRequest();
    const error = this.handle.writeBuffer(spareRequest, view);
    if (error === 0 && streamBaseState[kLastWriteWasAsync] !== 0) this.keepRequest(view);
    return error;
  }

  write(ranges: readonly Range[]): number {
    const views = ranges.map(
      ({ chunk, start, end }) =>
        new Uint8Array(chunk.bytes.buffer, chunk.bytes.byteOffset + start, end - start),
    );
    spareRequest ??= newRequest();
    const error = this.handle.writev(spareRequest, views, true);
    if (error === 0 && streamBaseState[kLastWriteWasAsync] !== 0) this.keepRequest(views);
    return error;
  }

  /** The system could not take everything at once: the bytes stay until `onWritten`. */
  private keepRequest(bytes: Uint8Array | Uint8Array[]): void {
    spareRequest!.socket = this;
    spareRequest!.bytes = bytes;
    spareRequest = undefined;
    this.isBusy = true;
  }

  pause(): void {
    this.handle.readStop();
  }

  resume(): void {
    this.handle.readStart();
  }

  keepAlive(after: number): void {
    if (after > 0) this.handle.setKeepAlive?.(true, Math.ceil(after / 1000));
  }

  shutdown(): void {
    const request = new ShutdownWrap();
    // If the peer is already gone, the next read reports it.
    request.oncomplete = () => {};
    this.handle.shutdown(request);
  }

  destroy(): void {
    this.handle.close();
  }

  /** Lets the process exit while the socket is open. */
  unref(): void {
    this.handle.unref();
  }

  /** Closes the handle if the system cannot reset it: after a FIN, or on a Unix socket. */
  reset(): void {
    if (this.handle.reset === undefined || this.handle.reset() !== 0) this.handle.close();
  }

  address(): string {
    if (this.handle.getpeername === undefined) return showPeer(undefined, undefined);
    if (this.handle.getpeername(peer) !== 0) return showPeer(undefined, undefined);
    return showPeer(peer.address, peer.port);
  }
}
