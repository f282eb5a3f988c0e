/**
 * The records of channels. A channel is a name with subscribers and a history; it exists while it has either. All published
 * messages of a server get consecutive numbers, so one number is a cursor for any set of channels.
 *
 *     publish → (end of the turn) number → log → keep → fan-out to live subscribers → answer
 *     subscribe → catch up from the kept messages → live ⇄ too slow: catch up again
 */

import type { Head } from '../../protocol/http/head.ts';
import type { Entry } from '../../records/entry.ts';
import type { Connection, Group, Server } from '../../records/records.ts';
import type { MemoryUse } from '../../records/resources.ts';
import type { LogMessage, MessageKind, MessageLog } from '../../storage/log/records.ts';

/** A message that a channel keeps, or is delivering. */
export interface ChannelMessage extends LogMessage {
  /** Retention may drop it at any time. */
  isKept: boolean;
}

export interface Channel {
  readonly name: string;
  /** Kept messages, oldest first, from index `first` on. Some of them may have been dropped: see `isKept`. */
  messages: ChannelMessage[];
  first: number;
  /** Kept messages, and the bytes of their data. */
  count: number;
  bytes: number;
  /** The number of its newest message, kept or not; 0 if there was none. */
  lastSeq: number;
  /** The highest number of a message that is no longer kept: a cursor below it has a gap. */
  forgottenSeq: number;
  /** Kept messages with an idempotency key, by publisher and key. */
  readonly keys: Map<string, ChannelMessage>;
  /** The connections of live subscribers. A message is encoded once for each group. */
  readonly live: Map<ChannelEncoder, Group>;
  readonly subscriptions: Set<Subscription>;
  /** Long polls that the next message answers. */
  readonly waiters: Set<Waiter>;
  /** Functions of modules that are called with each message as it is published. They never throw. */
  readonly listeners: Set<(message: ChannelMessage) => void>;
  /** Its users; undefined while it has neither users nor watchers. */
  presence: ChannelPresence | undefined;
  /** The chat room of this name, if it has users. */
  room: ChannelRoom | undefined;
}

/** The users of a room, who receive what is published. */
export interface ChannelRoom {
  readonly users: { readonly size: number };
  /** @param authors of each message, as passed to `publish` */
  deliver(messages: readonly ChannelMessage[], authors: readonly (object | undefined)[]): void;
}

/** How a kind of subscriber is sent messages. One object for each kind: subscribers with the same one share the encoded bytes. */
export interface ChannelEncoder {
  readonly transport: Transport;
  /** Valid until the next call of any encoder. The sequence of `message` forms its id. */
  message(channels: Channels, message: ChannelMessage): EncodedMessage;
  /** Says that messages in the channels `names` are missing before the next message. */
  gap(names: readonly string[]): EncodedMessage;
  /** Reports the users, or a change. @param id the cursor that goes with the change */
  presence?(id: string | undefined, change: object): EncodedMessage;
  /** Says that the subscriber has everything up to now. Without it, a subscriber that has caught up is not told. */
  caughtUp?(channels: Channels): EncodedMessage;
}

export type Transport = 'websocket' | 'eventsource' | 'poll';

export interface EncodedMessage {
  /** For WebSocket: a text frame. */
  readonly isText: boolean;
  readonly bytes: Uint8Array;
}

/** A connection that receives the messages of channels as they are published. */
export interface Subscriber {
  readonly connection: Connection;
  readonly encoder: ChannelEncoder;
  /** By name. */
  readonly subscriptions: Map<string, Subscription>;
  /** It is in the groups of all its channels, perhaps none; otherwise it is catching up. */
  isLive: boolean;
  /** Bytes, besides its connection. */
  memory: number;
}

export interface Subscription {
  readonly channel: Channel;
  readonly subscriber: Subscriber;
  /** Its user when it subscribed. */
  readonly user: string | undefined;
  /** How much of the presence it receives; undefined: nothing. */
  readonly view: PresenceView | undefined;
  /** The subscriber has everything up to this number, as far as it was kept. Not updated while it is live. */
  cursor: number;
  /** The subscriber knows that messages up to this number may be missing. */
  toldSeq: number;
}

/** A request that waits for the next message of some channels. */
export interface Waiter {
  readonly channels: readonly Channel[];
  readonly user: string | undefined;
  /** Adds a message to its answer, which need not be kept. */
  take(message: ChannelMessage): void;
  /** There are messages. Called once; the waiter is in no channel any more. */
  wake(): void;
}

/** How much of a channel's presence a subscriber may see. */
export type PresenceView = 'names' | 'count';

/** The users of a channel. It exists while the channel has users, or subscribers that watch them. */
export interface ChannelPresence {
  readonly channel: Channel;
  readonly users: Map<string, PresentUser>;
  /** The subscribers and waiting polls of these users. */
  sources: number;
  /** Subscribers that know the users and receive the changes, by view and encoder. */
  readonly watchers: Readonly<Record<PresenceView, Map<ChannelEncoder, Group>>>;
  /** Subscribers that receive the users at the end of the turn. */
  readonly newcomers: Set<Subscription>;
  /** The changes of this turn. */
  readonly joined: Set<string>;
  readonly left: Set<string>;
  /** The number of subscribers without a user, as watchers know it. */
  anonymous: number;
}

export interface PresentUser {
  readonly name: string;
  readonly presence: ChannelPresence;
  /** Subscribers and waiting polls. */
  sources: number;
  /** When the last of them was removed, on the server's clock. */
  leftAt: number;
}

/** The presence of all channels of a server. */
export interface Presences {
  /** Presences with changes or newcomers in this turn. */
  readonly changed: Set<ChannelPresence>;
  /** Users without sources, whose grace time runs, in the order of `leftAt`. */
  readonly leaving: Set<PresentUser>;
  /** Set while there are such users. */
  timer: NodeJS.Timeout | undefined;
}

/** What a publisher hands in. */
export interface Publication {
  /** A valid name: see names.ts. */
  readonly channel: string;
  readonly kind: MessageKind;
  /** Owned by the channel from now on. */
  readonly data: Buffer;
  readonly from?: string | undefined;
  readonly uid?: number | undefined;
  readonly event?: string | undefined;
  /** Milliseconds for which it is kept at most. */
  readonly ttl?: number | undefined;
  /** The idempotency key, and the publisher whose key it is. */
  readonly key?: string | undefined;
  readonly publisher?: string | undefined;
  /** Passed to the room: the chat user who said it. */
  readonly author?: object | undefined;
}

/** The answer to a publisher (`answerTo`). */
export interface Published {
  /** `EPOCH-SEQ` */
  readonly id: string;
  readonly subscribers: number;
}

/** Receives the published message, or a sentence if it could not be stored; then nobody received it. */
export type OnPublished = (outcome: ChannelMessage | string) => void;

export interface QueuedPublication {
  readonly publication: Publication;
  readonly time: number;
  readonly onPublished: OnPublished;
  /** The answers to publications that repeat its key before it is stored. */
  repeats: OnPublished[] | undefined;
}

/** Bounds on what all channels keep. */
export interface Retention {
  /** For each channel. */
  readonly messages: number;
  readonly bytes: number;
  /** Milliseconds; 0: no limit. */
  readonly age: number;
  /** Bytes of all channels together. */
  readonly memory: number;
}

/** The channels of one server. */
export interface Channels {
  readonly server: Server;
  readonly log: MessageLog | undefined;
  readonly epoch: string;
  /** The number of the newest message. */
  lastSeq: number;
  readonly byName: Map<string, Channel>;
  /** The names of channels that the queue creates, and which `--max-channels` counts already. */
  readonly unborn: Set<string>;
  retention: Retention;
  /** All kept messages in order, from index `oldest` on; some may have been dropped. */
  order: ChannelMessage[];
  oldest: number;
  /** The number of kept messages of all channels, and their bytes of memory. */
  kept: number;
  keptMemory: number;
  /** The number of those that have an expiry time. */
  expiring: number;
  /** Set while a message may become too old (retention.ts). */
  expiryTimer: NodeJS.Timeout | undefined;
  /** `forgottenSeq` of channels that no longer exist. Bounded: for all others, `forgottenFloor` holds. */
  readonly forgotten: Map<string, number>;
  forgottenFloor: number;
  readonly subscribers: Map<Connection, Subscriber>;
  readonly presences: Presences;
  /** Published in this turn. */
  queue: QueuedPublication[];
  /** Waiters with messages, in the order of waking. Until then, they collect newer messages too. */
  readonly due: Set<Waiter>;
  /** Those with an idempotency key, by channel, publisher and key. */
  readonly pendingKeys: Map<string, QueuedPublication>;
  /** The last append to the log failed. */
  isUnwritable: boolean;
  readonly memory: MemoryUse;
  /**
   * Who publishes with the token in the head of a request, at the time of a call: the scope of idempotency keys. Undefined without a
   * token: the client can only subscribe. @throws ProtocolError 401 or 429 for a wrong token
   */
  publisherOf(head: Head, connection: Connection): (() => string | undefined) | undefined;
  /** Decides who may subscribe and publish; undefined: every client may subscribe, and a token is needed to publish. */
  entry: Entry | undefined;
  /** Arranges that `commitPublications` runs at the end of this turn, or of the next. */
  scheduleCommit(): void;
}
