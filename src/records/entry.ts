/** What decides who comes in, and who may do what: access/entry.ts makes one. */

import type { ProtocolError } from '../protocol/codes.ts';
import type { Head } from '../protocol/http/head.ts';
import type { Identity, Need } from './identity.ts';
import type { Connection } from './records.ts';

export interface Entry {
  /** Whether an option asks who clients are, or limits what they may do. While it is off, nothing else here is called. */
  isOn(): boolean;
  /** Whether clients may identify themselves by a token. */
  takesTokens(): boolean;
  /** Whether only holders of the API token or the publish token may have this right. */
  isForCommands(need: Need, identity: Identity | undefined): boolean;
  /** Whether the client has this right, as far as it is known who it is: the app is not asked. */
  allows(connection: Connection, need: Need): boolean;
  /** Sets `connection.identity` and `connection.claim` by the head of a request. */
  identify(connection: Connection, head: Head): void;
  /**
   * Asks the app again about the users of live connections, as often as `--auth-recheck` says, and decides their rights again.
   * @param needsOf the rights that a connection uses now, besides the right to open its handler
   */
  recheck(needsOf: (connection: Connection) => readonly Need[]): void;
  /** Drops what is known of a user: the site's log-out takes effect at once. */
  forgetUser(user: string): void;
  /** Sets `connection.identity` by a token that the client sent in a message. @returns why the token is refused, a sentence */
  identifyByToken(connection: Connection, token: string): string | undefined;
  /**
   * Decides whether the client may have all of these rights. If that depends on who it is, the app is asked, and
   * `connection.identity` is set by its answer. A connection can ask one question at a time; `forgetClient` cancels it.
   * @param decided called once: at once, or later and outside of a turn; with a refusal if there is one
   * @returns whether `decided` was called
   */
  authorize(
    connection: Connection,
    needs: readonly Need[],
    decided: (refusal: ProtocolError | undefined) => void,
  ): boolean;
}
