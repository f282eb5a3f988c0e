/** What the messages of a connection mean is its handler's business: chosen by subprotocol, else by path, else by default. */
import type { Head } from '../protocol/http/head.ts';
import type { Message } from '../protocol/websocket/message.ts';
import type { Connection } from './connection.ts';
import type { Server } from './server.ts';

/**
 * A handler runs inside the turn: it must return soon, and it never writes to a socket. What it sends (`send.ts`) is
 * queued, and leaves when the turn ends.
 */
export interface Handler {
  /** Its subprotocol, and the path it is reached by. */
  readonly name: string;
  /** The handshake is done; `request` is the head that it was asked for with. */
  opened?(connection: Connection, request?: Head): void;
  /**
   * A whole message came. It is lent for this call: copy what is to be kept. If it carries more work than the connection
   * has a share of the turn for (`charge`), leave the rest to the next turn (`deferRest`). If no other is to
   * come before something else has happened, pause messages (`pauseMessages`).
   */
  message(connection: Connection, message: Message): void;
  /**
   * The connection is over, for whatever reason; called once for each that was opened.
   * @param code the close code received or, where we failed the connection, sent; 1005 for a close frame without one,
   *   1006 where the connection ended without a close frame
   */
  closed?(connection: Connection, code: number, reason: string): void;
  /** Bytes of memory that the handler holds for the connection, such as input of a program; they count against `maxMemory`. */
  held?(connection: Connection): number;
  /** Frees them: the connection is closed because memory is short. */
  discard?(connection: Connection): void;
  /** All that came in this turn is processed, and nothing is sent yet. */
  turnEnds?(): void;
  /** The server listens; the first turn is still to come. */
  started?(server: Server): void;
  /** The server ends: the last turn is over, and all connections are. Resolves when nothing of the handler's is left. */
  stopped?(): Promise<void>;
}
