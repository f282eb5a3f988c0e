/**
 * A model of channels against the server: random publishing, subscribing, resuming, disconnecting, forgetting, ageing and
 * restarts over the three transports. Each subscriber receives exactly what the model says, or a gap where the model says so.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { forgetChannel } from '../../../src/handlers/channels/publish.ts';
import type { Subscriber } from '../../../src/handlers/channels/records.ts';
import { dropExpired } from '../../../src/handlers/channels/retention.ts';
import { type ChannelPoll, openEvents, openSocket, pollChannel } from '../../support/channelClients.ts';
import { type ChannelServer, startChannels, until } from '../../support/channelServer.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import {
  type Bounds,
  ChannelModel,
  channelMemory,
  messageMemory,
  publisher,
  type Said,
} from './channelModel.ts';
import { copyLog, crashLog, tearLog } from './logFolders.ts';

const names = ['a', 'b', 'c'] as const;

const shown = ({ seq, channel, text }: Said) => `${seq} ${channel} ${text}`;
const shownGap = (channels: readonly string[]) => `gap ${channels}`;

/** A client that stays connected, over WebSocket or EventSource, or that polls. */
interface Client {
  channels: readonly string[];
  readonly expected: string[];
  readonly received: string[];
  /** The number after which it resumes. */
  cursor: number;
  /** A poll that waits. */
  waiting: Promise<void> | undefined;
  close: (() => void) | undefined;
  /** Over WebSocket: sends commands in one segment. */
  send: ((commands: readonly object[]) => void) | undefined;
  /** Of commands. */
  answers: number;
  subscriber: Subscriber | undefined;
}

type Transport = 'websocket' | 'eventsource' | 'poll';

/** Where a subscription by command starts: now, after what the client has, or with the last messages. */
type CommandStart = 'now' | 'resume' | number;

type Command =
  | { readonly subscribe: string; readonly start: CommandStart }
  | { readonly unsubscribe: string }
  | { readonly publish: string };

/** How a server ends. */
type End = 'stopped' | 'killed' | 'killed in a write' | 'crash of the system';

interface Settings extends Bounds {
  readonly fsync: 'always' | 'everysec' | 'no';
  /** Bytes of a segment. */
  readonly rotate: string;
}

const smallSegment = '1KB';

/** The server's clock. It is behind the system's, so no file of the log looks older than its messages. */
const clock = { now: 0 };

class Run {
  private readonly test: TestContext;
  private readonly settings: Settings;
  private folder: string;
  private server!: ChannelServer;
  private readonly model: ChannelModel;
  private readonly clients: Client[] = [];
  private texts = 0;
  private epoch = '';
  /** Since the last start. */
  private hasPurged = false;
  restarts = 0;

  constructor(test: TestContext, settings: Settings) {
    this.test = test;
    this.settings = settings;
    this.folder = join(temporaryFolder(), 'data');
    this.model = new ChannelModel(settings);
  }

  /** Starts the server: a new one, or again. */
  async start(): Promise<void> {
    const { messages, memory, age, fsync, rotate } = this.settings;
    this.server = await startChannels(
      this.test,
      ...['--history', `${messages}`, '--history-memory', `${memory}`, '--history-age', `${age}ms`],
      ...['--data', this.folder, '--fsync', fsync, '--history-rotate', rotate, '--history-keep', '0'],
    );
    const { channels } = this.server;
    if (this.epoch !== '') assert.equal(channels.epoch, this.epoch);
    this.epoch = channels.epoch;
    dropExpired(channels, clock.now);
    assert.equal(channels.lastSeq, this.model.lastSeq);
    channels.publisherOf = () => () => publisher;
  }

  private url(channels: readonly string[], query: string): string {
    return `/channels?${channels.map(channel => `c=${channel}`).join('&')}&format=json${query}`;
  }

  /** Publishes in one turn. */
  async publish(channels: readonly string[], ttl?: number): Promise<void> {
    const ids = channels.map(channel => {
      const text = String(this.texts++);
      this.expect(this.model.publish(channel, text, clock.now, ttl)!);
      return this.server.publish(channel, text, { ttl });
    });
    assert.equal((await Promise.all(ids)).at(-1), this.server.id(this.model.lastSeq));
    await this.untilAnswered(channels);
  }

  /** Publishes with an idempotency key. */
  async publishOnce(channel: string, key: string): Promise<void> {
    const text = String(this.texts++);
    const earlier = this.model.withKey(channel, key);
    const message = this.model.publish(channel, text, clock.now, undefined, key);
    if (message !== undefined) this.expect(message);
    const id = await this.server.publish(channel, text, { key, publisher });
    assert.equal(id, this.server.id((message ?? earlier!).seq));
    if (message !== undefined) await this.untilAnswered([channel]);
  }

  private expect(message: Said): void {
    for (const client of this.clients) {
      const isOpen = client.close !== undefined || client.waiting !== undefined;
      if (isOpen && client.channels.includes(message.channel)) client.expected.push(shown(message));
    }
  }

  private async untilAnswered(channels: readonly string[]): Promise<void> {
    for (const client of this.clients) {
      if (client.waiting === undefined || !client.channels.some(one => channels.includes(one))) continue;
      await client.waiting;
      client.waiting = undefined;
    }
  }

  async forget(channel: string, isPurged: boolean): Promise<void> {
    const { channels } = this.server;
    forgetChannel(channels, channel, isPurged);
    this.model.forget(channel, isPurged);
    this.hasPurged ||= isPurged;
    // A purge waits for the one before; this one has nothing to remove.
    if (isPurged) await channels.log!.purge('no channel', 0);
  }

  /** Time passes. */
  pass(time: number): void {
    clock.now += time;
    dropExpired(this.server.channels, clock.now);
    this.model.expire(clock.now);
  }

  /**
   * @param most records that a crash of the system takes
   * @param returnsBy how all clients come back at once; undefined: they do not
   */
  async restart(end: End, most: number, returnsBy: Transport | undefined): Promise<void> {
    this.restarts++;
    const { server, folder, model } = this;
    for (let at = 0; at < this.clients.length; at++) await this.cut(at, end !== 'stopped');
    const waiting = this.clients.filter(client => client.waiting !== undefined);
    if (end !== 'stopped') {
      this.folder = copyLog(folder);
      for (const entry of server.server.table.entries)
        if (entry?.kind === 'connection') entry.socket.destroy();
    }
    if (end === 'stopped') {
      server.drain();
      await server.over;
    }
    await server.stop();
    for (const client of waiting) {
      // A server that stops answers its polls.
      if (end === 'stopped') await client.waiting!;
      else await assert.rejects(client.waiting!);
      client.waiting = undefined;
    }
    const record = `{"id":"${this.epoch}-${model.lastSeq + 1}","time":"2030-01-02T03:04:05.678Z","channel":"a","text":"x"}`;
    if (end === 'killed in a write') tearLog(this.folder, record);
    if (end === 'crash of the system') {
      const { fsync, rotate } = this.settings;
      const isSynced = fsync === 'always';
      // The model does not know the segments, whose first lines save the numbers of purged messages.
      const isKnown = !this.hasPurged || rotate !== smallSegment;
      const lost = crashLog(this.folder, isSynced || !isKnown ? 0 : most);
      if (isSynced) model.restart(clock.now);
      else model.crash(clock.now, lost);
    } else model.restart(clock.now);
    this.hasPurged = false;
    await this.start();
    if (returnsBy === undefined) return;
    for (let at = 0; at < this.clients.length; at++) await this.resume(returnsBy, at);
  }

  async open(transport: Transport, channels: readonly string[], start: 'now' | number): Promise<void> {
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
    // A killed server does not answer.
    answered.catch(() => {});
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
    if ('ok' in record || 'error' in record) client.answers++;
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
    client.subscriber = isNew();
  }

  private async connectSocket(client: Client, path: string): Promise<void> {
    const { socket, next } = await openSocket(this.server.port, path);
    let isOpen = true;
    client.send = commands => {
      const { _socket: tcp } = socket as unknown as { _socket: Socket };
      tcp.cork();
      for (const one of commands) socket.send(JSON.stringify(one));
      tcp.uncork();
    };
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

  /**
   * A WebSocket sends commands in one segment: one turn runs all of them, and ends with the messages that they publish. Before
   * that, the client may be catching up.
   */
  async command(at: number, commands: readonly Command[]): Promise<void> {
    const client = this.clients[at % Math.max(1, this.clients.length)];
    if (client?.send === undefined || client.close === undefined) return;
    await this.check(client);
    const { model, server } = this;
    const { lastSeq } = model;
    const subscriptions = new Map(client.channels.map(name => [name, { cursor: lastSeq, told: lastSeq }]));
    const published: string[] = [];
    let isLive = true;
    const startOf = (name: string, start: CommandStart) => {
      if (start === 'now') return { cursor: lastSeq, told: model.missingUpTo(name) };
      if (start === 'resume') return { cursor: client.cursor, told: 0 };
      return { cursor: model.cursorOfLast(name, start), told: model.missingUpTo(name) };
    };
    const run = (one: Command): object => {
      if ('publish' in one)
        return { publish: one.publish, data: String(this.texts + published.push(one.publish) - 1) };
      if ('unsubscribe' in one) {
        subscriptions.delete(one.unsubscribe);
        return one;
      }
      const { subscribe, start } = one;
      if (!subscriptions.has(subscribe)) {
        const position = startOf(subscribe, start);
        if (isLive && position.cursor < model.newestOf(subscribe)) {
          isLive = false;
          for (const name of subscriptions.keys())
            subscriptions.set(name, { cursor: lastSeq, told: lastSeq });
        }
        subscriptions.set(subscribe, position);
      }
      const from =
        start === 'now' ? {} : start === 'resume' ? { after: server.id(client.cursor) } : { last: start };
      return { subscribe, ...from };
    };
    const sent = commands.map(run);
    if (subscriptions.size === 0) sent.push(run({ subscribe: 'a', start: 'now' }));
    // A live subscriber gets every message; one that catches up gets what is kept at the end of the turn.
    client.channels = isLive ? [...subscriptions.keys()] : [];
    for (const name of published) this.expect(model.publish(name, String(this.texts++), clock.now)!);
    client.channels = [...subscriptions.keys()];
    if (!isLive) {
      const all = [...subscriptions];
      const gap = all.filter(([name, { cursor, told }]) => model.missingUpTo(name) > Math.max(cursor, told));
      if (gap.length > 0) client.expected.push(shownGap(gap.map(([name]) => name)));
      const missed = all.flatMap(([name, { cursor }]) => model.after([name], cursor));
      client.expected.push(...missed.sort((a, b) => a.seq - b.seq).map(shown));
    }
    const { answers } = client;
    client.send(sent);
    await until(() => client.answers === answers + sent.length && client.subscriber?.isLive === true);
    await this.untilAnswered(published);
    await this.check(client);
  }

  /** Cuts a client off, perhaps before it has received everything: it resumes after what it has. */
  async cut(at: number, isAtOnce: boolean): Promise<void> {
    const client = this.clients[at % Math.max(1, this.clients.length)];
    if (client?.close === undefined) return;
    if (!isAtOnce) await this.check(client);
    client.close();
    client.close = undefined;
    client.send = undefined;
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
    for (const name of names) await this.forget(name, false);
    await until(() => this.server.channels.byName.size === 0);
    await this.server.stop();
  }
}

/** About a third of what an idle machine does. */
const runsPerSecond = 20;

/** Runs take milliseconds; a longer one waits for something that does not happen, and fails. */
const runTimeout = 5_000;

const seqOf = (id: string) => Number(id.split('-')[1]);

function newClient(channels: readonly string[], cursor: number): Client {
  const none = { waiting: undefined, close: undefined, send: undefined, subscriber: undefined };
  return { channels, expected: [], received: [], cursor, answers: 0, ...none };
}

const subset = fc.subarray([...names], { minLength: 1 });
const transport = fc.constantFrom<Transport>('websocket', 'eventsource', 'poll');
const command = fc.oneof<fc.Arbitrary<Command>[]>(
  fc.record({
    subscribe: fc.constantFrom(...names),
    start: fc.constantFrom<CommandStart>('now', 'resume', 0, 1, 2, 9),
  }),
  fc.record({ unsubscribe: fc.constantFrom(...names) }),
  fc.record({ publish: fc.constantFrom(...names) }),
);
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      publish: fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 5 }),
      ttl: fc.constantFrom(undefined, undefined, 10),
    }),
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
  {
    weight: 1,
    arbitrary: fc.record({
      forget: fc.constantFrom(...names),
      isPurged: fc.constantFrom(false, false, true),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ once: fc.constantFrom(...names), key: fc.constantFrom('k', 'another key') }),
  },
  { weight: 1, arbitrary: fc.record({ pass: fc.integer({ min: 1, max: 6 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({ commands: fc.array(command, { minLength: 1, maxLength: 8 }), at: fc.nat(9) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      restart: fc.constantFrom<End>('stopped', 'killed', 'killed in a write', 'crash of the system'),
      most: fc.nat(3),
      returnsBy: fc.option(transport, { nil: undefined }),
    }),
  },
);

const minute = 60_000;
const settings = fc.record<Settings>({
  messages: fc.constantFrom(3, 5),
  // The second one holds six messages of two channels.
  memory: fc.constantFrom(64 * 1024 * 1024, 2 * channelMemory + 6 * (messageMemory + 5)),
  age: fc.constantFrom(0, 30 * minute),
  fsync: fc.constantFrom('no', 'no', 'no', 'everysec', 'always'),
  rotate: fc.constantFrom('16MB', smallSegment),
});

test('every subscriber receives what the model says, over all transports and restarts (longer: make model)', {
  timeout: 900_000,
}, async t => {
  const seed = Number(process.env['SEED'] ?? Date.now() | 0);
  const seconds = Number(process.env['SECONDS'] ?? 12);
  const begin = Date.now();
  t.mock.method(Date, 'now', () => clock.now);
  let [runs, restarts, gaps] = [0, 0, 0];
  await fc.assert(
    fc.asyncProperty(settings, fc.array(step, { minLength: 5, maxLength: 40 }), async (chosen, steps) => {
      clock.now = begin - 24 * 60 * minute;
      const run = new Run(t, chosen);
      await run.start();
      for (const one of steps) {
        if ('publish' in one)
          await run.publish(one.publish, one.ttl === undefined ? undefined : one.ttl * minute);
        else if ('once' in one) await run.publishOnce(one.once, one.key);
        else if ('open' in one) await run.open(one.open, one.names, one.start);
        else if ('cut' in one) await run.cut(one.cut, one.isAtOnce);
        else if ('resume' in one) await run.resume(one.resume, one.at);
        else if ('forget' in one) await run.forget(one.forget, one.isPurged);
        // No message is exactly as old as a bound.
        else if ('pass' in one) run.pass(one.pass * 7 * minute);
        else if ('commands' in one) await run.command(one.at, one.commands);
        else await run.restart(one.restart, one.most, one.returnsBy);
      }
      gaps += run.gapsSeen();
      restarts += run.restarts;
      runs++;
      await run.end();
    }),
    {
      seed,
      // Not interrupted by a time limit: a run that is cut off would leave its server behind.
      numRuns: seconds * runsPerSecond,
      timeout: runTimeout,
    },
  );
  t.diagnostic(`seed ${seed}: ${runs} runs with ${restarts} restarts and ${gaps} gaps`);
  assert.ok(restarts > 0 && gaps > 0, 'the runs have restarts and gaps');
});
