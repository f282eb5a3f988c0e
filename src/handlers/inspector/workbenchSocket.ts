/**
 * The socket of a workbench connection. Its peer is in this process, so no bytes pass through the system. The rest of the server
 * sees an ordinary socket. It is busy until the page has read its output.
 */
import { onWriteComplete } from '../../core/flush.ts';
import { onData, onEnd } from '../../core/poll.ts';
import { maxWorkbenchAnswer } from '../../protocol/inspectorLimits.ts';
import type { Range } from '../../records/arena.ts';
import type { Connection, Socket } from '../../records/records.ts';

export interface WorkbenchEvents {
  /** The server has written. */
  written(): void;
  /** The server has freed the connection. */
  destroyed(): void;
}

export class WorkbenchSocket implements Socket {
  isBusy = false;
  /** Set by `start`. */
  connection!: Connection;
  /** Bytes from the page that the server has not taken. */
  unread = 0;
  private input: Buffer[] = [];
  private hasFin = false;
  private isPaused = false;
  private isScheduled = false;
  private isDestroyed = false;
  private output: Buffer[] = [];
  private outputSize = 0;
  private readonly peer: string;
  private readonly events: WorkbenchEvents;

  /** @param peer the address of the inspector, whose limits the connection shares */
  constructor(peer: string, events: WorkbenchEvents) {
    this.peer = peer;
    this.events = events;
  }

  start(connection: Connection): void {
    this.connection = connection;
  }

  address(): string {
    return this.peer;
  }

  /** The client sends bytes. The socket owns them from now on. */
  receive(bytes: Buffer): void {
    if (this.hasFin || bytes.length === 0) return;
    this.input.push(bytes);
    this.unread += bytes.length;
    this.schedule();
  }

  /** The client ends its direction, after the bytes that it has sent. */
  finish(): void {
    this.hasFin = true;
    this.schedule();
  }

  /** The client drops the connection. */
  drop(): void {
    if (this.isDestroyed) return;
    this.input = [];
    this.unread = 0;
    this.hasFin = true;
    onEnd(this.connection, 'ECONNRESET');
  }

  /** Events of sockets never occur during a turn. */
  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => this.deliver());
  }

  private deliver(): void {
    this.isScheduled = false;
    if (this.isDestroyed || this.isPaused) return;
    const piece = this.input.shift();
    if (piece !== undefined) {
      const part = piece.subarray(0, maxWorkbenchAnswer);
      if (part.length < piece.length) this.input.unshift(piece.subarray(part.length));
      this.unread -= part.length;
      onData(this.connection, part, part.length);
    } else if (this.hasFin) {
      onEnd(this.connection, undefined);
      return;
    }
    if (this.input.length > 0 || this.hasFin) this.schedule();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    if (this.input.length > 0 || this.hasFin) this.schedule();
  }

  writeOne(bytes: Buffer, start: number, end: number): number {
    this.keep(bytes.subarray(start, end));
    this.events.written();
    return 0;
  }

  write(ranges: readonly Range[]): number {
    for (const { chunk, start, end } of ranges) this.keep(chunk.bytes.subarray(start, end));
    this.events.written();
    return 0;
  }

  private keep(bytes: Uint8Array): void {
    this.output.push(Buffer.from(bytes));
    this.outputSize += bytes.length;
    this.isBusy = this.outputSize >= maxWorkbenchAnswer;
  }

  /** Takes up to `limit` bytes that the server has written. */
  take(limit: number): Buffer {
    const all = this.output.length === 1 ? this.output[0]! : Buffer.concat(this.output);
    const part = all.subarray(0, limit);
    this.output = part.length < all.length ? [all.subarray(part.length)] : [];
    this.outputSize -= part.length;
    if (this.isBusy && this.outputSize === 0) {
      this.isBusy = false;
      if (!this.isDestroyed) onWriteComplete(this.connection, undefined);
    }
    return part;
  }

  unsent(): number {
    return this.outputSize;
  }

  held(): number {
    return this.outputSize + this.unread;
  }

  keepAlive(): void {}

  /** The server ends its direction, and the client answers by ending its own. */
  shutdown(): void {
    this.finish();
  }

  destroy(): void {
    this.isDestroyed = true;
    this.input = [];
    this.unread = 0;
    this.events.destroyed();
  }
}
