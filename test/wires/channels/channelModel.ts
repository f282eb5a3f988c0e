/** A model of channels: the messages that they keep, deliver and report as missing. */

/** The bounds of a server's retention. */
export interface Bounds {
  /** Messages of each channel. */
  readonly messages: number;
  /** Bytes of all messages, each with `messageMemory`, and of the channels that keep them. */
  readonly memory: number;
  /** Milliseconds; 0: no limit. */
  readonly age: number;
}

export interface Said {
  readonly seq: number;
  readonly time: number;
  readonly channel: string;
  readonly text: string;
  readonly expiresAt: number | undefined;
  /** The idempotency key. */
  readonly key: string | undefined;
}

interface Forget {
  readonly seq: number;
  readonly channel: string;
  readonly isForget: true;
}

/** The memory of a message besides its text. */
export const messageMemory = 256;

/** The memory of a channel that keeps messages, besides these. */
export const channelMemory = 2048;

/** The publisher of all messages with a key. */
export const publisher = 'p';

/** Numbers that are skipped after a crash of the system. */
const skippedNumbers = 10_000_000;

const memoryOf = ({ text, key }: Said) =>
  messageMemory + text.length + (key === undefined ? 0 : 2 * (key.length + publisher.length));

export class ChannelModel {
  lastSeq = 0;
  private readonly bounds: Bounds;
  private log: (Said | Forget)[] = [];
  /** Messages that the server's log no longer has. */
  private readonly purged = new Set<Said | Forget>();
  /** Oldest first. */
  private kept: Said[] = [];
  /** The highest number of a channel that is missing. */
  private forgotten = new Map<string, number>();
  /** The same for all channels. */
  private floor = 0;
  /** The number at the last crash of the system. */
  private crashedAt = 0;
  /** The number at the last start, which the first line of the server keeps. */
  private startedAt = 0;

  constructor(bounds: Bounds) {
    this.bounds = bounds;
  }

  /** @param ttl milliseconds @returns what is delivered; undefined if a kept message has the key */
  publish(channel: string, text: string, time: number, ttl?: number, key?: string): Said | undefined {
    if (key !== undefined && this.withKey(channel, key) !== undefined) return undefined;
    this.lastSeq++;
    const expiresAt = ttl === undefined ? undefined : time + ttl;
    const message = { seq: this.lastSeq, time, channel, text, expiresAt, key };
    this.log.push(message);
    this.kept.push(message);
    const ofChannel = this.kept.filter(one => one.channel === channel);
    if (ofChannel.length > this.bounds.messages) this.drop(ofChannel[0]!);
    this.trim();
    return message;
  }

  withKey(channel: string, key: string): Said | undefined {
    return this.kept.find(one => one.channel === channel && one.key === key);
  }

  forget(channel: string, isPurged: boolean): void {
    if (isPurged)
      for (const record of this.log)
        if (record.channel === channel && !('isForget' in record)) this.purged.add(record);
    this.lastSeq++;
    this.log.push({ seq: this.lastSeq, channel, isForget: true });
    for (const message of this.kept.filter(one => one.channel === channel)) this.drop(message);
  }

  /** Drops what is too old. */
  expire(now: number): void {
    const { age } = this.bounds;
    const isOver = ({ time, expiresAt }: Said) =>
      (age > 0 && time < now - age) || (expiresAt !== undefined && expiresAt <= now);
    for (const message of this.kept.filter(isOver)) this.drop(message);
  }

  /** The server starts again, and reads its log from the end as far as the bounds reach. */
  restart(now: number): void {
    const { messages, age, memory } = this.bounds;
    this.kept = [];
    this.forgotten = new Map();
    this.floor = this.crashedAt;
    this.startedAt = this.lastSeq;
    const counts = new Map<string, number>();
    const complete = new Set<string>();
    const miss = (channel: string, seq: number) => {
      if (!this.forgotten.has(channel)) this.forgotten.set(channel, seq);
    };
    let left = memory;
    for (const record of this.log.toReversed()) {
      const { seq, channel } = record;
      const isForget = 'isForget' in record;
      // A message whose time to live is over takes no place.
      const isOver = !isForget && record.expiresAt !== undefined && record.expiresAt <= now;
      const count = (counts.get(channel) ?? 0) + (isForget || isOver ? 0 : 1);
      const isNew = !isForget && !isOver && !complete.has(channel);
      const fits = isNew && count <= messages && !(age > 0 && record.time < now - age);
      const needed = fits ? messageMemory + record.text.length + (count === 1 ? channelMemory : 0) : 0;
      if (left <= 0 || left < needed) {
        this.floor = Math.max(this.floor, seq);
        break;
      }
      counts.set(channel, count);
      if (fits) {
        this.kept.unshift(record);
        left -= needed;
      } else if (isOver) miss(channel, seq);
      else {
        complete.add(channel);
        if (!isForget) miss(channel, seq);
      }
    }
    this.trim();
    this.expire(now);
  }

  /** The system crashes: the last records are lost, and numbers may have been used that the log does not have. */
  crash(now: number, lost: number): void {
    this.log = this.log.filter(record => !this.purged.has(record));
    this.log.length -= lost;
    this.crashedAt = Math.max(this.log.at(-1)?.seq ?? 0, this.startedAt) + skippedNumbers;
    this.lastSeq = this.crashedAt;
    this.restart(now);
  }

  /** The highest number of the channel that is missing. */
  missingUpTo(channel: string): number {
    return Math.max(this.forgotten.get(channel) ?? 0, this.floor);
  }

  /** The number of the channel's newest message, kept or missing. */
  newestOf(channel: string): number {
    return Math.max(this.kept.findLast(one => one.channel === channel)?.seq ?? 0, this.missingUpTo(channel));
  }

  /** The cursor of a subscription that starts with the last messages. */
  cursorOfLast(channel: string, count: number): number {
    if (count === 0) return this.lastSeq;
    return (this.kept.filter(one => one.channel === channel).at(-count)?.seq ?? 1) - 1;
  }

  gap(channels: readonly string[], cursor: number): string[] {
    return channels.filter(channel => this.missingUpTo(channel) > cursor);
  }

  after(channels: readonly string[], cursor: number): Said[] {
    return this.kept.filter(({ seq, channel }) => seq > cursor && channels.includes(channel));
  }

  last(channels: readonly string[], count: number): Said[] {
    const first = channels.map(
      one => this.kept.filter(({ channel }) => channel === one).at(-count)?.seq ?? 0,
    );
    return count === 0
      ? []
      : this.kept.filter(
          ({ seq, channel }) => channels.includes(channel) && seq >= first[channels.indexOf(channel)]!,
        );
  }

  private trim(): void {
    const used = () =>
      this.kept.reduce((sum, message) => sum + memoryOf(message), 0) +
      channelMemory * new Set(this.kept.map(({ channel }) => channel)).size;
    while (used() > this.bounds.memory) this.drop(this.kept[0]!);
  }

  private drop(message: Said): void {
    this.kept = this.kept.filter(one => one !== message);
    const before = this.forgotten.get(message.channel) ?? 0;
    this.forgotten.set(message.channel, Math.max(before, message.seq));
  }
}
