/** What the server sends, and what a feed reports to the subscriptions that share it, in this tab and in others. */

export type Transport = 'websocket' | 'eventsource' | 'polling';

/** The URL of the channels, and the token for the first message; over HTTP, the URL has it, too. */
export type Target = readonly [url: string, token: string | undefined];

/** A published message in the server's JSON. */
export interface SentMessage {
  /** `EPOCH-SEQ`: SEQ counts all messages of the server. */
  readonly id: string;
  readonly channel: string;
  readonly data?: unknown;
  /** Bytes, instead of `data`. */
  readonly base64?: string;
  readonly event?: string;
  readonly from?: string;
}

/** The channels whose messages after the cursor are not all kept any more. */
export interface Gap {
  readonly gap: readonly string[];
}

/** Every message up to this id has been sent. */
export interface Cursor {
  readonly last: string;
}

/** A gap. `last` is not empty if the server has lost what cursors refer to: it replaces the cursors of all tabs. */
export type Loss = Gap & Cursor;

/** A connection is open. */
export interface Opened {
  /** The cursor at which it resumed: all messages after it follow. */
  readonly opened: string;
  readonly channels: readonly string[];
  readonly transport: Transport;
  /**
   * The server's cursor when the connection opened, or that which an event stream resumes at. Empty if the connection had been
   * open before.
   */
  readonly last: string;
}

export type FeedRecord = SentMessage | Loss | Cursor | Opened | { readonly connecting: true };

/** @returns SEQ minus that of `other`; NaN if the epochs differ, because the server has a new log, or if one is empty */
export function distance(id: string, other: string): number {
  const [epoch, seq] = id.split('-');
  const [otherEpoch, otherSeq] = other.split('-');
  return epoch === otherEpoch ? +seq! - +otherSeq! : NaN;
}
