/**
 * Output that is made as the socket takes it, so that a large answer never exists as a whole. While a connection has a
 * producer, the flush asks it for the next slice whenever the socket has taken everything before.
 */
import type { Connection } from './connection.ts';

export interface Producer {
  /**
   * Queues about `outputSlice` bytes at most, and removes itself from the connection behind the last of them. It may end
   * the connection as soon as it likes: the FIN waits until the producer is gone.
   * @returns whether to ask again in the next turn; otherwise `scheduleFlush` announces more output
   */
  produce(connection: Connection): boolean;
  /** Bytes of memory that it alone refers to. */
  held(): number;
}
