/**
 * Many channels, many subscribers, and some that stall, against a server in a process of its own:
 * node build/test/handlers/channels/scale.js [--channels 10000] [--subscribers 10000] [--readers 950] [--stalled 50]
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type EventSubscriber, openEvents } from '../../support/channelClients.ts';
import { type CountingClient, connectCrowd } from '../../support/countingClient.ts';
import { connectKept, type KeptClient } from '../../support/keptClient.ts';
import { MiB, openDescriptors, peakMemory, residentMemory } from '../../support/processState.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const token = 'a-token-of-the-test-of-scale';

/** Memory besides `--max-memory`: garbage that is not collected yet, and what a connection costs outside the budget. */
const slack = 96 * MiB;

async function startPublished(...options: string[]): Promise<ServerProcess> {
  const file = join(temporaryFolder(), 'token');
  writeFileSync(file, token, { mode: 0o600 });
  const open = ['--max-connections', '0', '--max-per-address', '0', '--log-level', 'error'];
  return startServer('--publish-token', file, '--rooms', 'none', ...open, ...options);
}

/** Publishes a text over a connection that is kept. @returns its id */
async function publish(client: KeptClient, channel: string, text: string): Promise<string> {
  const head = `POST /channels/${channel} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n`;
  const { status, body } = await client.ask(
    `${head}Content-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  assert.equal(status, 200, body);
  return (JSON.parse(body) as { id: string }).id;
}

export interface ManyChannels {
  /** Open descriptors of the server with one channel, and with all. */
  readonly descriptors: readonly [before: number, after: number];
  /** Bytes of resident memory for each channel with its message. */
  readonly memoryEach: number;
}

/** The lowest of many counts: without descriptors that are open for a moment only, such as those of files of /proc. */
function lastingDescriptors(pid: number): number {
  return Math.min(...Array.from({ length: 100 }, () => openDescriptors(pid)));
}

/** Publishes one message in each of `count` channels, with a log on disk. */
export async function fillChannels(count: number): Promise<ManyChannels> {
  const server = await startPublished('--data', temporaryFolder());
  try {
    const clients = await Promise.all(Array.from({ length: 8 }, () => connectKept(server.port)));
    // The server compiles its code and sizes its heap.
    for (let i = 0; i < 2000; i++) await publish(clients[0]!, 'warm-up', 'order 0 is paid');
    for (const client of clients.slice(1)) await publish(client, 'warm-up', 'order 0 is paid');
    const before = lastingDescriptors(server.pid);
    const memory = residentMemory(server.pid);
    let next = 0;
    const publishOn = async (client: KeptClient) => {
      for (let at = next++; at < count; at = next++)
        await publish(client, `orders/${at}`, `order ${at} is paid`);
    };
    await Promise.all(clients.map(publishOn));
    const memoryEach = (residentMemory(server.pid) - memory) / count;
    return { descriptors: [before, lastingDescriptors(server.pid)], memoryEach };
  } finally {
    await server.kill();
  }
}

/** Waits for more bytes of any kind: the turn of the event loop in which they are read. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(setImmediate);
}

/** Every one of `count` subscribers gets each of `messages` messages. @throws AssertionError otherwise */
export async function fillChannel(
  transport: 'websocket' | 'eventsource',
  count: number,
  messages: number,
): Promise<void> {
  const server = await startPublished();
  try {
    const publisher = await connectKept(server.port);
    const texts = Array.from({ length: messages }, (_, at) => `message ${at}`);
    if (transport === 'websocket') {
      const crowd = await connectCrowd(server.port, '/channels/feed', count);
      const due = Buffer.concat(texts.map(text => frame(opcode.text, text, { key: null })));
      for (const client of crowd) client.due = due;
      for (const text of texts) await publish(publisher, 'feed', text);
      await until(() => crowd.every(({ received, isOver }) => received >= due.length || isOver));
      assert.equal(crowd.filter(client => isExact(client, due.length)).length, count);
      for (const { socket } of crowd) socket.destroy();
    } else {
      const streams = await openStreams(server.port, count);
      for (const text of texts) await publish(publisher, 'feed', text);
      for (const stream of streams) {
        for (const text of texts) {
          let event = await stream.next();
          while (event !== undefined && event.data === undefined) event = await stream.next();
          assert.equal(event?.data, text);
        }
        stream.socket.destroy();
      }
    }
  } finally {
    await server.kill();
  }
}

const isExact = ({ received, wrongAt, isOver }: CountingClient, length: number) =>
  received === length && wrongAt === undefined && !isOver;

/** Opens event streams, a few at a time because of the listener's backlog. */
async function openStreams(port: number, count: number): Promise<EventSubscriber[]> {
  const streams: EventSubscriber[] = [];
  let begun = 0;
  const openOn = async () => {
    while (begun++ < count) {
      const stream = await openEvents(port, '/channels/feed');
      // Its start: from here on it is subscribed.
      await stream.next();
      streams.push(stream);
    }
  };
  await Promise.all(Array.from({ length: 50 }, openOn));
  return streams;
}

export interface Stall {
  /** The server's highest resident memory above that before the load, in bytes. */
  readonly memory: number;
  /** Stalled subscribers that got a gap; the others got everything. */
  readonly gaps: number;
}

/**
 * Of all subscribers some do not read: the others get everything, and these catch up or get a gap when they read again.
 * @throws AssertionError otherwise
 */
export async function stallSome(readers: number, stalled: number, messages: number): Promise<Stall> {
  const maxMemory = 64 * MiB;
  const server = await startPublished(
    ...['--max-memory', '64MB', '--history', '20', '--history-memory', '8MB'],
    ...['--ping-interval', '0'],
  );
  try {
    const publisher = await connectKept(server.port);
    const crowd = await connectCrowd(server.port, '/channels/feed', readers);
    const path = '/channels/feed?format=json';
    const sleepers = await Promise.all(
      Array.from({ length: stalled }, () => connectRaw(server.port, { path })),
    );
    for (const { socket } of sleepers) socket.pause();
    const rest = 'x'.repeat(40_000);
    const texts = Array.from({ length: messages }, (_, at) => `${at} ${rest}`);
    const due = Buffer.concat(texts.map(text => frame(opcode.text, text, { key: null })));
    for (const client of crowd) client.due = due;
    const before = residentMemory(server.pid);
    let last = '';
    for (const text of texts) last = await publish(publisher, 'feed', text);
    await until(() => crowd.every(({ received, isOver }) => received >= due.length || isOver));
    assert.equal(crowd.filter(client => isExact(client, due.length)).length, readers);
    let gaps = 0;
    for (const sleeper of sleepers) {
      sleeper.socket.resume();
      gaps += await followToEnd(() => sleeper.nextFrame(), last);
    }
    const memory = peakMemory(server.pid) - before;
    assert.ok(memory < maxMemory + slack, `${memory} bytes`);
    for (const { socket } of [...crowd, ...sleepers]) socket.destroy();
    return { memory, gaps };
  } finally {
    await server.kill();
  }
}

/** Reads up to the last message; numbers ascend by one, except behind a gap. @returns 1 if there was a gap, or else 0 */
async function followToEnd(
  nextFrame: () => Promise<{ opcode: number; payload: Buffer } | undefined>,
  last: string,
): Promise<number> {
  let before = 0;
  let isGap = false;
  let gaps = 0;
  for (;;) {
    const next = await nextFrame();
    assert.ok(next !== undefined && next.opcode === opcode.text, 'a stalled subscriber stays connected');
    const { id, gap } = JSON.parse(next.payload.toString()) as { id?: string; gap?: string[] };
    if (gap !== undefined) isGap = true;
    if (id === undefined) continue;
    const seq = Number(id.split('-')[1]);
    assert.ok(isGap ? seq > before : seq === before + 1, `${seq} after ${before}`);
    if (isGap) gaps = 1;
    isGap = false;
    before = seq;
    if (id === last) return gaps;
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      channels: { type: 'string', default: '10000' },
      subscribers: { type: 'string', default: '10000' },
      readers: { type: 'string', default: '950' },
      stalled: { type: 'string', default: '50' },
    },
  });
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const { descriptors, memoryEach } = await fillChannels(Number(values.channels));
  const [before, after] = descriptors;
  say(
    `${values.channels} channels: ${before} descriptors before, ${after} after, ${Math.round(memoryEach)} bytes each`,
  );
  assert.equal(after, before);
  for (const transport of ['websocket', 'eventsource'] as const) {
    await fillChannel(transport, Number(values.subscribers), 5);
    say(`${values.subscribers} subscribers by ${transport}: each has each of 5 messages`);
  }
  const { memory, gaps } = await stallSome(Number(values.readers), Number(values.stalled), 300);
  say(
    `${values.readers} readers have all messages; of ${values.stalled} that stalled, ${gaps} got a gap; ` +
      `${(memory / MiB).toFixed(0)} MiB more memory`,
  );
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === new URL(import.meta.url).pathname) {
  await main().catch((error: Error) => {
    process.stderr.write(`scale: ${error.message}\n`);
    process.exitCode = 1;
  });
}
