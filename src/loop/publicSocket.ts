/** A socket as Node documents it: `net.Socket`. See bareSocket.ts for the other kind. */
import type { Socket as NetSocket } from 'node:net';
import type { Connection } from '../connection/connection.ts';
import type { Range } from '../connection/queue.ts';
import type { Socket } from '../connection/socket.ts';
import { showPeer } from './addresses.ts';
import { writeDone } from './flush.ts';
import { bytesArrived, peerEnded } from './poll.ts';

const pieceSize = 256 * 1024;

export class PublicSocket implements Socket {
  isBusy = false;
  private connection: Connection | undefined;
  private readonly stream: NetSocket;

  /** @param stream paused, and allowed to be half open */
  constructor(stream: NetSocket) {
    this.stream = stream;
    stream.setNoDelay(true);
    stream.on('error', (error: NodeJS.ErrnoException) => this.ended(error.code ?? error.message));
    stream.on('end', () => this.ended(undefined));
    stream.on('data', bytes => {
      if (this.connection !== undefined) bytesArrived(this.connection, bytes, bytes.length);
    });
    stream.pause();
  }

  start(connection: Connection): void {
    this.connection = connection;
    this.stream.resume();
    if (this.stream.destroyed) this.ended('ECONNRESET');
  }

  private ended(error: string | undefined): void {
    if (this.connection !== undefined) peerEnded(this.connection, error);
  }

  unsent(): number {
    return this.stream.writableLength;
  }

  writeOne(bytes: Buffer, start: number, end: number): number {
    this.writePieces(bytes, start, end);
    this.isBusy = this.stream.writableLength > 0;
    return 0;
  }

  /** In pieces, by which it can be seen how far a slow peer has come. */
  private writePieces(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at += pieceSize) {
      this.stream.write(bytes.subarray(at, Math.min(end, at + pieceSize)), this.written);
    }
  }

  write(ranges: readonly Range[]): number {
    this.stream.cork();
    for (const { chunk, start, end } of ranges) this.writePieces(chunk.bytes, start, end);
    this.stream.uncork();
    this.isBusy = this.stream.writableLength > 0;
    return 0;
  }

  private readonly written = (error?: Error | null): void => {
    if (!this.isBusy || this.connection === undefined) return;
    if (error == null && this.stream.writableLength > 0) return;
    this.isBusy = false;
    writeDone(
      this.connection,
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
    this.stream.destroy();
  }

  address(): string {
    return showPeer(this.stream.remoteAddress, this.stream.remotePort);
  }
}
