/** The interface of access control, which access/entry.ts implements. */

import type { ProtocolError } from '../protocol/codes.ts';
import type { Head } from '../protocol/http/head.ts';
import type { Identity, Need } from './identity.ts';
import type { Connection } from './records.ts';

export interface Entry {
  /** Whether an option identifies clients, or limits their rights. */
  isOn(): boolean;
  /** Whether a token can identify a client. */
  takesTokens(): boolean;
  /** Whether only holders of the API token or the publish token may have this right. */
  isForCommands(need: Need, identity: Identity | undefined): boolean;
  /** Whether the client has this right by its present identity: the app is not asked. */
  allows(connection: Connection, need: Need): boolean;
  /** Sets `connection.identity` and `connection.claim` from the head of a request. */
  identify(connection: Connection, head: Head): void;
  /**
   * Asks the app again about the users of live connections, as often as `--auth-recheck` says, and decides their rights again.
   * @param needsOf the rights that a connection uses now, besides the right to open its handler
   */
  recheck(needsOf: (connection: Connection) => readonly Need[]): void;
  /** Drops the app's answers about a user, so a log-out takes effect at once. */
  forgetUser(user: string): void;
  /** Sets `connection.identity` from a token in a message. @returns why the token is refused, a sentence */
  identifyByToken(connection: Connection, token: string): string | undefined;
  /**
   * Decides whether the client has all of these rights. If that depends on its identity, the app is asked, and its answer sets
   * `connection.identity`. A connection can ask one question at a time; `forgetClient` cancels it.
   * @param decided called once: at once, or later and outside of a turn; with a refusal if there is one
   * @returns whether `decided` was called
   */
  authorize(
    connection: Connection,
    needs: readonly Need[],
    decided: (refusal: ProtocolError | undefined) => void,
  ): boolean;
}
