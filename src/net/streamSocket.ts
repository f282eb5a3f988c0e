/**
 * A socket on Node's documented API: a `net.Socket`, or a `TLSSocket` on top of one, for which it also uses `TlsHandle`.
 * handleSocket.ts is the fast path.
 */
import type { Socket as NetSocket } from 'node:net';
import { onWriteComplete } from '../core/flush.ts';
import { onData, onEnd, setReading } from '../core/poll.ts';
import { showPeer } from '../protocol/ipAddress.ts';
import { maxRecordsAtOnce, tlsMemory } from '../protocol/tlsLimits.ts';
import { type Range, releaseInFlight } from '../records/arena.ts';
import type { Connection, Socket } from '../records/records.ts';

/**
 * The maximum number of bytes in one write to the stream. Small pieces show the progress of a slow peer. A TLSSocket encrypts a
 * write at once, so small pieces also bound how long others wait and how many bytes are in memory twice.
 */
const pieceSize = 64 * 1024;

/**
 * The undocumented inside of a TLS stream. A paused stream goes on reading until its buffer is full, which takes tens of thousands of
 * records if each has a byte. While `reading` is true, Node's stream does not start the handle, so stopping it is enough.
 */
interface TlsHandle {
  reading?: boolean;
  readStart?(): number;
  readStop?(): number;
}

export class StreamSocket implements Socket {
  isBusy = false;
  readonly memory: number | undefined;
  private connection: Connection | undefined;
  private readonly stream: NetSocket;
  /** The TCP connection: the stream itself, or the socket beneath TLS. */
  private readonly carrier: NetSocket;
  /** Ranges that the stream has not been given yet. */
  private readonly waiting: { bytes: Buffer; start: number; end: number }[] = [];
  private waitingSize = 0;
  private isFinished = false;
  /** TLS: the records that arrived since the turn `recordsSince`. */
  private records = 0;
  private recordsSince = 0;

  /** @param stream paused, with `allowHalfOpen` @param carrier the TCP connection beneath a TLS stream */
  constructor(stream: NetSocket, carrier = stream) {
    this.stream = stream;
    this.carrier = carrier;
    this.memory = carrier === stream ? undefined : tlsMemory;
    stream.setNoDelay(true);
    stream.on('error', this.onError);
    stream.on('end', this.onEnd);
    stream.on('close', this.onClose);
    stream.on('data', this.onData);
    stream.pause();
  }

  start(connection: Connection): void {
    this.connection = connection;
    this.stream.resume();
    if (this.stream.destroyed) this.onClose();
  }

  /**
   * Detaches from the stream and returns it; this socket is not used any more.
   * @param unread bytes that the stream delivers first
   */
  release(unread: Buffer): NetSocket {
    const { stream } = this;
    this.connection = undefined;
    stream
      .off('error', this.onError)
      .off('end', this.onEnd)
      .off('close', this.onClose)
      .off('data', this.onData);
    stream.pause();
    stream.unshift(unread);
    return stream;
  }

  private readonly onData = (bytes: Buffer): void => {
    const { connection } = this;
    if (connection === undefined) return;
    onData(connection, bytes, bytes.length);
    if (this.memory !== undefined) this.limitRecords(connection);
  };

  /**
   * Each record is decrypted and delivered on its own, however small. libuv reads up to 2 MiB of them in one poll, while the others wait:
   * after some records the connection waits for its turn, like one that sends more than one read takes.
   */
  private limitRecords(connection: Connection): void {
    const { turns } = connection.server.counters;
    if (turns !== this.recordsSince) {
      this.recordsSince = turns;
      this.records = 0;
    }
    if (++this.records < maxRecordsAtOnce) return;
    connection.isBulk = true;
    setReading(connection, false);
  }

  private tlsHandle(): TlsHandle | undefined {
    if (this.memory === undefined) return undefined;
    return (this.stream as unknown as { _handle?: TlsHandle | null })._handle ?? undefined;
  }

  private readonly onEnd = (): void => this.finish(undefined);

  /** OpenSSL's errors have a `reason` in words. */
  readonly onError = (error: NodeJS.ErrnoException & { reason?: string }): void =>
    this.finish(error.reason ?? error.code ?? error.message);

  /** A close without an end or an error: the stream was destroyed elsewhere. */
  private readonly onClose = (): void => {
    if (!this.isFinished) this.finish('ECONNRESET');
  };

  private finish(error: string | undefined): void {
    this.isFinished = true;
    if (this.connection !== undefined) onEnd(this.connection, error);
  }

  unsent(): number {
    return this.stream.writableLength + this.waitingSize;
  }

  writeOne(bytes: Buffer, start: number, end: number): number {
    if (end - start <= pieceSize) {
      this.stream.write(bytes.subarray(start, end), this.onWritten);
    } else {
      this.enqueue(bytes, start, end);
      this.writePiece();
    }
    this.isBusy = this.unsent() > 0;
    return 0;
  }

  write(ranges: readonly Range[]): number {
    for (const { chunk, start, end } of ranges) this.enqueue(chunk.bytes, start, end);
    this.writePiece();
    this.isBusy = this.unsent() > 0;
    return 0;
  }

  /** TLS: a second copy, encrypted, of what was written and is not sent yet. */
  held(): number {
    return this.memory === undefined ? 0 : this.stream.writableLength;
  }

  private enqueue(bytes: Buffer, start: number, end: number): void {
    this.waiting.push({ bytes, start, end });
    this.waitingSize += end - start;
  }

  /** Writes up to one piece of the waiting ranges, as one system call. */
  private writePiece(): void {
    const { stream, waiting } = this;
    let room = Math.min(pieceSize, this.waitingSize);
    let used = 0;
    this.waitingSize -= room;
    stream.cork();
    while (room > 0) {
      const range = waiting[used]!;
      const { bytes, start } = range;
      const end = Math.min(range.end, start + room);
      room -= end - start;
      range.start = end;
      if (end === range.end) used++;
      stream.write(bytes.subarray(start, end), room === 0 ? this.onWritten : undefined);
    }
    stream.uncork();
    waiting.splice(0, used);
  }

  private readonly onWritten = (error?: Error | null): void => {
    const { connection } = this;
    if (!this.isBusy || connection === undefined) return;
    if (error == null && this.waitingSize > 0) {
      // A peer that accepts output is alive.
      connection.heardAt = connection.server.now;
      this.writePiece();
      return;
    }
    this.isBusy = false;
    this.waiting.length = 0;
    this.waitingSize = 0;
    onWriteComplete(
      connection,
      error == null ? undefined : ((error as NodeJS.ErrnoException).code ?? 'EPIPE'),
    );
  };

  pause(): void {
    this.stream.pause();
    const handle = this.tlsHandle();
    if (handle?.reading === true) handle.readStop?.();
  }

  resume(): void {
    this.stream.resume();
    const handle = this.tlsHandle();
    if (handle?.reading === true) handle.readStart?.();
  }

  keepAlive(after: number): void {
    if (after > 0) this.stream.setKeepAlive(true, after);
  }

  shutdown(): void {
    this.stream.end();
  }

  destroy(): void {
    const { connection, stream } = this;
    this.connection = undefined;
    // Until it is closed, the stream may still read the queue's bytes.
    if (connection !== undefined && this.isBusy)
      stream.once('close', () => releaseInFlight(connection.queue));
    stream.destroy();
  }

  /** Lets the process exit while the socket is open. */
  unref(): void {
    this.stream.unref();
  }

  reset(): void {
    // A Unix socket cannot be reset.
    if (this.carrier.remotePort !== undefined) this.carrier.resetAndDestroy();
    this.destroy();
  }

  address(): string {
    return showPeer(this.stream.remoteAddress, this.stream.remotePort);
  }
}
