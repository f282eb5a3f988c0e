/**
 * Kills the server with SIGKILL while 50 channels are published to and followed over three transports, again and again:
 * node build/test/handlers/channels/killNine.js [--times 100] [--seed N]
 *
 * Every message that any subscriber received, or any publisher was answered for, is in the log once, and the ids in the log
 * ascend. Subscribers resume after each restart: each has received every message of its channels once, in order, without a gap.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openEvents, openSocket, pollChannel } from '../../support/channelClients.ts';
import { KeptClient } from '../../support/keptClient.ts';
import { runAsProgram } from '../../support/killProgram.ts';
import { newRandom, type Random } from '../../support/random.ts';
import { connectTcp } from '../../support/rawClient.ts';
import { writtenIn } from '../../support/roomFiles.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

export interface ChannelKillReport {
  /** Messages in the logs, acknowledged messages, and deliveries to subscribers. */
  readonly logged: number;
  readonly answered: number;
  readonly received: number;
}

const channels = 50;
const publishers = 4;
const roundsAFolder = 10;

/** A message of a subscriber or of the log. */
interface Seen {
  readonly id: string;
  readonly channel: string;
  readonly data: string;
}

/** A subscriber, which resumes in each round of a folder. */
interface Follower {
  readonly transport: 'websocket' | 'eventsource' | 'poll';
  readonly names: readonly string[];
  readonly seen: Seen[];
  /** The id after which it resumes. */
  cursor: string | undefined;
}

const nameOf = (number: number) => `channel/${number}`;

/** @throws AssertionError if the log differs from the answers and deliveries */
export async function killChannels(times: number, seed: number): Promise<ChannelKillReport> {
  const parent = temporaryFolder();
  const random = newRandom(seed);
  const token = 'a-token-of-the-kill-test';
  writeFileSync(join(parent, 'token'), token, { mode: 0o600 });
  let [logged, answered, received] = [0, 0, 0];
  for (let round = 0; round < times; ) {
    const directory = join(parent, `${round}`);
    const followers = newFollowers(random);
    const outcomes = new Map<string, string>();
    for (let inFolder = 0; inFolder < roundsAFolder && round < times; inFolder++, round++) {
      const server = await startServer(
        ...['--data', directory, '--fsync', random.pick(['no', 'everysec', 'always'])],
        ...['--history-rotate', '50KB', '--history-keep', '0', '--history', '10000'],
        ...['--publish-token', join(parent, 'token'), '--log-level', 'error'],
      );
      try {
        await playRound(server, `${round}`, followers, outcomes, { random, token });
      } finally {
        await server.kill();
      }
    }
    const log = readLog(directory);
    checkLog(log, followers, outcomes, `seed ${seed}, folder ${directory}`);
    logged += log.length;
    answered += outcomes.size;
    for (const { seen } of followers) received += seen.length;
  }
  return { logged, answered, received };
}

function newFollowers(random: Random): Follower[] {
  const followers: Follower[] = [];
  for (const transport of ['websocket', 'eventsource', 'poll'] as const) {
    for (let i = 0; i < 3; i++) {
      const names = Array.from({ length: channels }, (_, number) => nameOf(number));
      // The first of each transport follows all channels, the others some.
      const some = i === 0 ? names : names.filter(() => random.oneIn(5));
      followers.push({ transport, names: some.length > 0 ? some : names, seen: [], cursor: undefined });
    }
  }
  return followers;
}

/** Followers resume, publishers publish, and the server is killed at a random moment. */
async function playRound(
  server: ServerProcess,
  round: string,
  followers: readonly Follower[],
  outcomes: Map<string, string>,
  { random, token }: { random: Random; token: string },
): Promise<void> {
  const following = followers.map(follower => follow(server.port, follower));
  let left = 50 + random.below(400);
  const publishing = Array.from({ length: publishers }, async (_, publisher) => {
    const client = new KeptClient(await connectTcp(server.port));
    for (let number = 0; ; number++) {
      const data = `${round}, ${publisher}, ${number}${'x'.repeat(random.oneIn(10) ? random.below(3000) : 0)}`;
      const name = nameOf(random.below(channels));
      const head = `POST /channels/${name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n`;
      const { status, body } = await client.ask(
        `${head}Content-Type: text/plain\r\nContent-Length: ${data.length}\r\n\r\n${data}`,
      );
      assert.equal(status, 200, body);
      outcomes.set(data, (JSON.parse(body) as { id: string }).id);
      left--;
      if (left <= 0) server.child.kill('SIGKILL');
    }
  });
  // They end with the server.
  const ends = await Promise.allSettled([...publishing, ...following]);
  await server.exited;
  for (const end of ends)
    if (end.status === 'rejected' && end.reason instanceof assert.AssertionError) throw end.reason;
}

/** Receives until the server is gone. */
async function follow(port: number, follower: Follower): Promise<void> {
  const { transport, names, cursor } = follower;
  const query = names.map(name => `c=${encodeURIComponent(name)}`);
  const path = (from: string | undefined) =>
    `/channels?${[...query, 'format=json', ...(from === undefined ? ['last=10000'] : [`after=${from}`])].join('&')}`;
  const take = (message: Record<string, unknown>) => {
    assert.equal(message['gap'], undefined, 'nothing is missing');
    const { id, channel, data } = message as unknown as Seen;
    if (id === undefined) return;
    follower.seen.push({ id, channel, data });
    follower.cursor = id;
  };
  if (transport === 'websocket') {
    const client = await openSocket(port, path(cursor));
    client.socket.on('error', () => {});
    for (;;) take(await client.nextJson());
  } else if (transport === 'eventsource') {
    const client = await openEvents(port, path(cursor));
    for (let event = await client.next(); event !== undefined; event = await client.next())
      if (event.data !== undefined) take(JSON.parse(event.data) as Record<string, unknown>);
  } else {
    for (;;) {
      const { messages, last, gap } = await pollChannel(port, path(follower.cursor));
      take({ gap });
      for (const message of messages) take(message);
      follower.cursor = last;
    }
  }
}

/** The messages in the log's files. */
function readLog(directory: string): Seen[] {
  const messages: Seen[] = [];
  for (const line of writtenIn(directory).split('\n')) {
    let record: { id?: string; channel?: string; text?: string };
    try {
      record = JSON.parse(line);
    } catch {
      // The last line of a killed server may be torn.
      continue;
    }
    const { id, channel, text } = record;
    if (id !== undefined && channel !== undefined && text !== undefined)
      messages.push({ id, channel, data: text });
  }
  return messages;
}

function checkLog(
  log: readonly Seen[],
  followers: readonly Follower[],
  outcomes: ReadonlyMap<string, string>,
  what: string,
): void {
  const numbers = log.map(({ id }) => Number(id.split('-')[1]));
  numbers.forEach((number, at) => {
    if (at > 0)
      assert.ok(number > numbers[at - 1]!, `ids ascend in the log: ${numbers[at - 1]}, ${number} (${what})`);
  });
  const texts = new Map(log.map(({ id, data }) => [data, id]));
  assert.equal(texts.size, log.length, `nothing is logged twice (${what})`);
  for (const [data, id] of outcomes)
    assert.equal(texts.get(data), id, `an answered message is in the log (${what})`);
  for (const { transport, names, seen } of followers) {
    const expected = log.filter(({ channel }) => names.includes(channel));
    const upTo = expected.slice(0, seen.length);
    assert.deepEqual(
      seen,
      upTo,
      `a subscriber by ${transport} has all messages of its channels, once, in order (${what})`,
    );
  }
}

await runAsProgram(import.meta.url, async (times, seed) => {
  const { logged, answered, received } = await killChannels(times, seed);
  return `${logged} messages are in the logs once, in order, among them ${answered} answered and ${received} delivered ones`;
});
