/** What the log of messages stores, and what its users need of it. An external stream engine could take its place. */

import type { DiskWork } from '../sync.ts';

/** How a message was published: UTF-8 text, a JSON value as its text, or bytes. */
export type MessageKind = 'text' | 'json' | 'bytes';

/** A published message: one line of the log. */
export interface LogMessage {
  /** Its number in the sequence of the server, from 1. Numbers in the log ascend. */
  readonly seq: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly channel: string;
  readonly kind: MessageKind;
  /** As published. Owned by the record: nobody changes the bytes. */
  readonly data: Buffer;
  /** Who said it, in a room. */
  readonly from?: string | undefined;
  /** The uid of the chat user who said it. */
  readonly uid?: number | undefined;
  /** The name of the event, for EventSource. */
  readonly event?: string | undefined;
  /** No longer kept from then on, in milliseconds since the epoch. */
  readonly expiresAt?: number | undefined;
  /** The idempotency key, and the publisher that it belongs to. */
  readonly key?: string | undefined;
  readonly publisher?: string | undefined;
  /** With a key: the number of subscribers in the answer to the publisher. */
  readonly subscribers?: number | undefined;
}

/** All earlier messages of the channel are forgotten. */
export interface LogForget {
  readonly seq: number;
  readonly time: number;
  readonly channel: string;
  readonly isForget: true;
  /** The number of the newest forgotten message; 0 if there was none, undefined if it is unknown. */
  readonly newest?: number | undefined;
}

export type LogRecord = LogMessage | LogForget;

export interface MessageLog {
  /** Identifies the sequence of numbers: a cursor with another epoch belongs to another log. No hyphen in it. */
  readonly epoch: string;
  readonly work: Readonly<DiskWork>;
  /** Appends the records in one write. @throws Error, a sentence; then none of them is in the log */
  append(records: readonly LogRecord[]): void;
  /** Syncs as `--fsync` says, after `append` and before anything is acknowledged. @throws Error, a sentence */
  sync(): void;
  /**
   * Rewrites the segments without the messages of the channel up to `seq`, in slices. Append the forget first.
   * @throws Error, a sentence
   */
  purge(channel: string, seq: number): Promise<void>;
  /** Syncs, and releases the folder. @throws Error, a sentence */
  close(): void;
}

/** Bounds on the messages that start-up reads: those that the channels keep. */
export interface LogBounds {
  /** For each channel. */
  readonly messages: number;
  readonly bytes: number;
  /** Milliseconds; 0: no limit. */
  readonly age: number;
  /** Bytes of all channels together. */
  readonly memory: number;
}

/** What start-up read of a log. */
export interface LoadedLog {
  readonly log: MessageLog;
  /**
   * Oldest first. A forget stands for messages that start-up read but the bounds exclude, too: the channel has no earlier
   * messages, and its number is that of the newest missing one, as far as that is known.
   */
  readonly records: readonly LogRecord[];
  /** The highest number that was used; 0 if there is none. It jumps if later messages may have been lost. */
  readonly lastSeq: number;
  /** The channels with messages whose time to live is over, which are not in `records`: the number of the newest. */
  readonly expired: ReadonlyMap<string, number>;
  /** Messages with numbers up to this one may exist or have existed, but were not read. */
  readonly unreadSeq: number;
}
