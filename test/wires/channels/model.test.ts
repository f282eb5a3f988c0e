/**
 * A model of channels against the server: random publishing, subscribing, resuming, disconnecting and forgetting over the three
 * transports. Each subscriber receives exactly what the model says, or a gap where the model says so.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { forgetChannel } from '../../../src/handlers/channels/publish.ts';
import { type ChannelPoll, openEvents, openSocket, pollChannel } from '../../support/channelClients.ts';
import { type ChannelServer, startChannels, until } from '../../support/channelServer.ts';

const names = ['a', 'b', 'c'] as const;
/** Messages that a channel keeps. */
const kept = 3;

interface Said {
  readonly seq: number;
  readonly channel: string;
  readonly text: string;
}

/** What the server must do, in the simplest terms. */
class Model {
  lastSeq: number;
  private readonly said = new Map<string, Said[]>();
  private readonly forgotten = new Map<string, number>();

  constructor(lastSeq: number) {
    this.lastSeq = lastSeq;
  }

  publish(channel: string, text: string): Said {
    this.lastSeq++;
    const message = { seq: this.lastSeq, channel, text };
    const messages = this.said.get(channel) ?? [];
    this.said.set(channel, messages);
    messages.push(message);
    if (messages.length > kept) this.forgotten.set(channel, messages.shift()!.seq);
    return message;
  }

  forget(channel: string): void {
    this.lastSeq++;
    const newest = this.said.get(channel)?.at(-1);
    if (newest !== undefined) this.forgotten.set(channel, newest.seq);
    this.said.set(channel, []);
  }

  gap(channels: readonly string[], cursor: number): string[] {
    return channels.filter(channel => (this.forgotten.get(channel) ?? 0) > cursor);
  }

  after(channels: readonly string[], cursor: number): Said[] {
    return this.sorted(channels, messages => messages.filter(({ seq }) => seq > cursor));
  }

  last(channels: readonly string[], count: number): Said[] {
    return this.sorted(channels, messages => messages.slice(Math.max(0, messages.length - count)));
  }

  private sorted(channels: readonly string[], of: (messages: readonly Said[]) => Said[]): Said[] {
    return channels
      .flatMap(channel => of(this.said.get(channel) ?? []))
      .sort((one, two) => one.seq - two.seq);
  }
}

const shown = ({ seq, channel, text }: Said) => `${seq} ${channel} ${text}`;
const shownGap = (channels: readonly string[]) => `gap ${channels}`;

/** A client that stays connected, over WebSocket or EventSource, or that polls. */
interface Client {
  readonly channels: readonly string[];
  readonly expected: string[];
  readonly received: string[];
  /** The number after which it resumes. */
  cursor: number;
  /** A poll that waits. */
  waiting: Promise<void> | undefined;
  close: (() => void) | undefined;
}

type Transport = 'websocket' | 'eventsource' | 'poll';

class Run {
  private readonly server: ChannelServer;
  private readonly prefix: string;
  private readonly model: Model;
  private readonly clients: Client[] = [];
  private texts = 0;

  constructor(server: ChannelServer, prefix: string) {
    this.server = server;
    this.prefix = prefix;
    this.model = new Model(server.channels.lastSeq);
  }

  private named(channels: readonly string[]): string[] {
    return channels.map(channel => `${this.prefix}${channel}`);
  }

  private url(channels: readonly string[], query: string): string {
    return `/channels?${channels.map(channel => `c=${channel}`).join('&')}&format=json${query}`;
  }

  /** Publishes in one turn. */
  async publish(channels: readonly string[]): Promise<void> {
    const ids = this.named(channels).map(channel => {
      const message = this.model.publish(channel, String(this.texts++));
      for (const client of this.clients) {
        if (client.channels.includes(channel) && (client.close !== undefined || client.waiting !== undefined))
          client.expected.push(shown(message));
      }
      return this.server.publish(channel, message.text);
    });
    assert.equal((await Promise.all(ids)).at(-1), this.server.id(this.model.lastSeq));
    for (const client of this.clients) {
      if (client.waiting === undefined || !client.channels.some(one => this.named(channels).includes(one)))
        continue;
      await client.waiting;
      client.waiting = undefined;
    }
  }

  forget(channel: string): void {
    forgetChannel(this.server.channels, `${this.prefix}${channel}`, false);
    this.model.forget(`${this.prefix}${channel}`);
  }

  async open(transport: Transport, names: readonly string[], start: 'now' | number): Promise<void> {
    const channels = this.named(names);
    const client = newClient(channels, this.model.lastSeq);
    this.clients.push(client);
    if (start !== 'now') client.expected.push(...this.model.last(channels, start).map(shown));
    const query = start === 'now' ? '' : `&last=${start}`;
    if (transport === 'poll') await this.poll(client, start === 'now' ? '&last=0' : query);
    else await this.connect(transport, client, query);
  }

  /** Resumes with a cursor: behind what the client has received. */
  async resume(transport: Transport, at: number): Promise<void> {
    const client = this.clients[at % Math.max(1, this.clients.length)];
    if (client === undefined || client.close !== undefined || client.waiting !== undefined) return;
    const { channels, cursor } = client;
    const gap = this.model.gap(channels, cursor);
    if (gap.length > 0) client.expected.push(shownGap(gap));
    const missed = this.model.after(channels, cursor);
    client.expected.push(...missed.map(shown));
    const query = `&after=${this.server.id(cursor)}`;
    if (transport !== 'poll') return this.connect(transport, client, query);
    const answered = this.poll(client, query);
    if (gap.length + missed.length > 0) return answered;
    client.waiting = answered;
    const channel = () => this.server.channels.byName.get(channels[0]!);
    const before = channel()?.waiters.size ?? 0;
    await until(() => (channel()?.waiters.size ?? 0) > before);
  }

  private async poll(client: Client, query: string): Promise<void> {
    const poll = await pollChannel(this.server.port, this.url(client.channels, query));
    this.receivePoll(client, poll);
  }

  private receivePoll(client: Client, { gap, messages, last }: ChannelPoll): void {
    if (gap !== undefined) client.received.push(shownGap(gap));
    for (const message of messages) this.receive(client, message);
    client.cursor = seqOf(last);
  }

  private receive(client: Client, record: Record<string, unknown>): void {
    const { id, channel, data, gap } = record;
    if (Array.isArray(gap)) client.received.push(shownGap(gap));
    if (typeof id !== 'string') return;
    client.received.push(`${seqOf(id)} ${channel} ${data}`);
    client.cursor = seqOf(id);
  }

  private async connect(
    transport: 'websocket' | 'eventsource',
    client: Client,
    query: string,
  ): Promise<void> {
    const { subscribers } = this.server.channels;
    const before = new Set(subscribers.keys());
    const path = this.url(client.channels, query);
    if (transport === 'websocket') await this.connectSocket(client, path);
    else await this.connectEvents(client, path);
    const isNew = () => [...subscribers].find(([connection]) => !before.has(connection))?.[1];
    // From here on it gets all messages, however few are kept.
    await until(() => isNew()?.isLive === true);
  }

  private async connectSocket(client: Client, path: string): Promise<void> {
    const { socket, next } = await openSocket(this.server.port, path);
    let isOpen = true;
    client.close = () => {
      isOpen = false;
      socket.terminate();
    };
    void (async () => {
      while (isOpen) {
        const message = JSON.parse(String(await next()));
        if (isOpen) this.receive(client, message);
      }
    })().catch(() => {});
  }

  private async connectEvents(client: Client, path: string): Promise<void> {
    const { socket, next } = await openEvents(this.server.port, path);
    let isOpen = true;
    client.close = () => {
      isOpen = false;
      socket.resetAndDestroy();
    };
    void (async () => {
      for (let event = await next(); event !== undefined && isOpen; event = await next()) {
        if (event.data !== undefined) this.receive(client, JSON.parse(event.data));
        if (event.id !== undefined) client.cursor = seqOf(event.id);
      }
    })().catch(() => {});
  }

  /** Cuts a client off, perhaps before it has received everything: it resumes after what it has. */
  async cut(at: number, isAtOnce: boolean): Promise<void> {
    const client = this.clients[at % Math.max(1, this.clients.length)];
    if (client?.close === undefined) return;
    if (!isAtOnce) await this.check(client);
    client.close();
    client.close = undefined;
    assert.deepEqual(client.received, client.expected.slice(0, client.received.length));
    client.expected.length = client.received.length;
  }

  private async check(client: Client): Promise<void> {
    const { expected, received } = client;
    await until(() => received.length >= expected.length);
    assert.deepEqual(received, expected);
  }

  gapsSeen(): number {
    return this.clients.flatMap(({ received }) => received).filter(one => one.startsWith('gap')).length;
  }

  async end(): Promise<void> {
    for (const client of this.clients) {
      if (client.waiting === undefined) await this.check(client);
      client.close?.();
      client.close = undefined;
    }
    // Answers the polls that still wait.
    await this.publish(names);
    for (const { expected, received } of this.clients) assert.deepEqual(received, expected);
    for (const name of names) this.forget(name);
    await until(() => this.named(names).every(name => !this.server.channels.byName.has(name)));
  }
}

const seqOf = (id: string) => Number(id.split('-')[1]);

function newClient(channels: readonly string[], cursor: number): Client {
  return { channels, expected: [], received: [], cursor, waiting: undefined, close: undefined };
}

const subset = fc.subarray([...names], { minLength: 1 });
const transport = fc.constantFrom<Transport>('websocket', 'eventsource', 'poll');
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ publish: fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 5 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      open: transport,
      names: subset,
      start: fc.constantFrom<'now' | number>('now', 0, 1, 2, 9),
    }),
  },
  { weight: 2, arbitrary: fc.record({ cut: fc.nat(9), isAtOnce: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ resume: transport, at: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ forget: fc.constantFrom(...names) }) },
);

test('every subscriber receives what the model says, over all transports', { timeout: 300_000 }, async t => {
  const server = await startChannels(t, '--history', String(kept));
  let runs = 0;
  let gaps = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async steps => {
      const run = new Run(server, `${runs++}`);
      for (const one of steps) {
        if ('publish' in one) await run.publish(one.publish);
        else if ('open' in one) await run.open(one.open, one.names, one.start);
        else if ('cut' in one) await run.cut(one.cut, one.isAtOnce);
        else if ('resume' in one) await run.resume(one.resume, one.at);
        else run.forget(one.forget);
      }
      gaps += run.gapsSeen();
      await run.end();
    }),
    { numRuns: 100, interruptAfterTimeLimit: 200_000 },
  );
  assert.ok(gaps > 0, 'the runs have gaps');
});
