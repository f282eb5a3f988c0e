/**
 * What the rest of the server needs of a socket. `net/` has two kinds; tests have their own.
 */
import type { Connection } from './connection.ts';
import type { Range } from './queue.ts';

export interface Socket {
  /** It is made of requests, and has no descriptor of its own. */
  readonly isVirtual?: true;
  /** Begins to read, on behalf of this connection. */
  start(connection: Connection): void;
  /** An earlier write is not through: nothing may be written until `drained` was told. */
  readonly isBusy: boolean;
  /** Bytes of that write which the system still has, as near as can be told. */
  unsent(): number;
  /**
   * Gives the ranges to the system, in order. The bytes must stay as they are while `isBusy`.
   * @returns a negative system error number where the connection is lost; 0 otherwise
   */
  write(ranges: readonly Range[]): number;
  /** The same for one range, which nearly all writes are. */
  writeOne(bytes: Buffer, start: number, end: number): number;
  /** Stops and starts reading. */
  pause(): void;
  resume(): void;
  /** Has the system find out that a silent peer is gone: it asks after so many milliseconds of silence (0: never). */
  keepAlive(after: number): void;
  /** Ends our direction, after what was written (FIN). */
  shutdown(): void;
  /** Gives the descriptor back. Nothing is heard of the socket any more. */
  destroy(): void;
  /** Bytes of memory that the socket itself holds, if it holds any, besides frames. */
  held?(): number;
  /** Its part of the memory of the frames that it holds, which others may share. */
  share?(): number;
  /** Forgets what it holds to be sent: the connection is closed to free memory. */
  discard?(): void;
  /** The peer's address as `127.0.0.1:50312`, `[::1]:50312` or `unix`. */
  address(): string;
}
