/** What is spoken on a connection: HTTP, WebSocket after its handshake, packets, lines. The loop knows no more of any. */
import type { Connection } from './connection.ts';

export interface Wire {
  readonly name: string;
  /**
   * Whether a connection that begins with `bytes[start, end)`, at least one byte, is this wire's; `undefined` while it
   * may still turn out to be.
   */
  matches?(bytes: Buffer, start: number, end: number, connection: Connection): boolean | undefined;
  /** What comes inside or behind it begins anew: whether the connection is welcome is seen by that. */
  readonly isWrapper?: true;
  /** A connection was found to be this wire's, by its first bytes or because it waits to be spoken to. */
  begin?(connection: Connection): void;
  /**
   * Works through `bytes[start, end)`, which it may change. It stops where something is incomplete, or where the
   * connection has had its share of the turn (`connection.isThrottled`).
   * @returns where it stopped; the rest is given again, with what came after it
   */
  receive(connection: Connection, bytes: Buffer, start: number, end: number): number;
  /**
   * Whether the input begins with something that is read before all messages: a control frame, a request for a command.
   * Without this function, nothing is.
   */
  isUrgent?(connection: Connection, bytes: Buffer, start: number): boolean;
  /** Like `receive`, but stops before the first message. Without it, all of an urgent input is read. */
  receiveUrgent?(connection: Connection, bytes: Buffer, start: number, end: number): number;
  /** Says goodbye in the wire's own words, and ends the connection in good order. */
  close(connection: Connection, code: number, reason: string): void;
  /** Like `close`, but waits for no answer of the peer's. Without it, `close` waits for none. */
  fail?(connection: Connection, code: number, reason: string): void;
  /**
   * Nothing more comes: the peer ended its direction, or the connection broke (`error`). Called for every connection, at the
   * latest when it is freed, and maybe again: the first call counts.
   */
  onEnd(connection: Connection, error: string | undefined): void;
  /** Looks at `server.now` whether something is overdue. Called now and then, not while the connection is ending. */
  checkDeadlines(connection: Connection): void;
  /** Bytes of memory that the wire holds for the connection, such as a request's body. */
  held?(connection: Connection): number;
}
