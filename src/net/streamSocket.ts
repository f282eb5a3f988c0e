/** A socket as Node documents it: `net.Socket`, or the `TLSSocket` on top of one. See handleSocket.ts for the other kind. */
import type { Socket as NetSocket } from 'node:net';
import type { Connection } from '../core/connection.ts';
import { onWriteComplete } from '../core/flush.ts';
import { showPeer } from '../core/peer.ts';
import { onData, onEnd } from '../core/poll.ts';
import { type Range, releaseInFlight } from '../core/queue.ts';
import type { Socket } from '../core/socket.ts';

/**
 * The stream is given so much at a time, so that it can be seen how far a slow peer has come. A TLSSocket enciphers all
 * that it is given at once: so nobody else waits for long, and no more than this is there twice.
 */
const pieceSize = 64 * 1024;

export class StreamSocket implements Socket {
  isBusy = false;
  private connection: Connection | undefined;
  private readonly stream: NetSocket;
  /** What the stream is still to be given. */
  private readonly waiting: { bytes: Buffer; start: number; end: number }[] = [];
  private waitingSize = 0;
  private isFinished = false;

  /** @param stream paused, and allowed to be half open */
  constructor(stream: NetSocket) {
    this.stream = stream;
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
   * Gives the stream back as it was, and is done with it.
   * @param unread is read from it again before all else
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
    if (this.connection !== undefined) onData(this.connection, bytes, bytes.length);
  };

  private readonly onEnd = (): void => this.finish(undefined);

  /** The connection is lost. OpenSSL's errors have a `reason`, in words. */
  readonly onError = (error: NodeJS.ErrnoException & { reason?: string }): void =>
    this.finish(error.reason ?? error.code ?? error.message);

  /** Without an end or an error before it, someone else has closed it. */
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

  private enqueue(bytes: Buffer, start: number, end: number): void {
    this.waiting.push({ bytes, start, end });
    this.waitingSize += end - start;
  }

  /** What waits, up to the size of a piece, in one write of the system's. */
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
      // Whoever takes a piece is alive.
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
  }

  resume(): void {
    this.stream.resume();
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
    // The stream may still read from the queue's bytes until it is closed.
    if (connection !== undefined && this.isBusy)
      stream.once('close', () => releaseInFlight(connection.queue));
    stream.destroy();
  }

  address(): string {
    return showPeer(this.stream.remoteAddress, this.stream.remotePort);
  }
}
