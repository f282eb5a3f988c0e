/**
 * Many clients echo through a module that is swapped again and again, sometimes with a broken version:
 * node build/test/handlers/modules/swarm.js --times 200 (`make swaps`). Nothing is lost, doubled or out of order.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

export interface Outcome {
  readonly clients: number;
  readonly swaps: number;
  readonly broken: number;
  readonly messages: number;
  /** Sentences about lost, doubled, reordered or invented messages. */
  readonly faults: readonly string[];
  /** Live bytes of the server's heap after garbage collection, before and after. */
  readonly heapBefore: number;
  readonly heapAfter: number;
}

/** Echoes with its version and the connection's count, which the next version continues; reports its heap on request. */
const good = (version: number) => `
  import { setFlagsFromString } from 'node:v8';
  import { runInNewContext } from 'node:vm';
  export function message(connection, message) {
    if (message.text() === 'heap') {
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc');
      for (let i = 0; i < 4; i++) collect();
      connection.send(String(process.memoryUsage().heapUsed));
      return;
    }
    connection.data = (connection.data ?? 0) + 1;
    connection.send('v${version} ' + connection.data + ' ' + message.text());
  }`;

/** The log event of a version that is refused. */
const refusal = 'handler not loaded';

/** Swaps before the first measurement of the heap. */
const warmUp = 10;

/** The five kinds of broken versions, and the log event of each. */
const bad: readonly { readonly source: string; readonly event: string }[] = [
  { source: 'export function message( {', event: refusal },
  { source: 'throw new Error("while loading");', event: refusal },
  { source: 'process.exit(0);', event: refusal },
  { source: 'while (true);', event: refusal },
  {
    source: `export function message(connection, message) {
      connection.send('from a broken version');
      throw new Error('at the first message');
    }`,
    event: 'handler rolled back',
  },
];

interface Sender {
  readonly client: RawClient;
  sent: number;
  heard: number;
}

/**
 * @param times the number of versions
 * @param brokenEvery one of so many versions is broken
 */
export async function swarm(clients: number, times: number, brokenEvery = 10): Promise<Outcome> {
  const folder = temporaryFolder();
  const write = (source: string) => {
    writeFileSync(join(folder, '_next'), source);
    renameSync(join(folder, '_next'), join(folder, 'swarm.mjs'));
  };
  write(good(0));
  const options = ['--watch', '--load-timeout', '10s', '--rollback-window', '2s', '--ping-interval', '0'];
  const server = await startServer('--handlers', folder, ...options);
  const faults: string[] = [];
  const senders: Sender[] = [];
  let isOver = false;
  try {
    const observer = await connectRaw(server.port, { path: '/swarm' });
    while (senders.length < clients) {
      const wanted = Math.min(50, clients - senders.length);
      const batch = Array.from({ length: wanted }, () => connectRaw(server.port, { path: '/swarm' }));
      for (const client of await Promise.all(batch)) senders.push({ client, sent: 0, heard: 0 });
    }
    const run = senders.map(sender => echo(sender, () => isOver, faults));
    const log = countLog(server);
    // The first swaps allocate what later ones reuse.
    await swapAll(log, write, warmUp, Number.POSITIVE_INFINITY);
    const heapBefore = await heapOf(observer);
    const broken = await swapAll(log, write, times, brokenEvery);
    isOver = true;
    await Promise.all(run);
    const heapAfter = await heapOf(observer);
    const messages = senders.reduce((sum, { heard }) => sum + heard, 0);
    return { clients, swaps: times - broken, broken, messages, faults, heapBefore, heapAfter };
  } finally {
    isOver = true;
    for (const { client } of senders) client.destroy();
    await server.kill();
  }
}

/** Sends the next message a little after the last answer; together the clients keep the server busy. */
async function echo(sender: Sender, isOver: () => boolean, faults: string[]): Promise<void> {
  const { client } = sender;
  while (!isOver() && faults.length < 10) {
    sender.sent++;
    client.send(frame(opcode.text, `m${sender.sent}`));
    const answer = await client.nextFrame();
    const said = answer?.payload.toString() ?? '(the end)';
    const [, count, text] = /^v\d+ (\d+) (.*)$/.exec(said) ?? [];
    if (count !== String(sender.sent) || text !== `m${sender.sent}`) {
      faults.push(`message ${sender.sent} was answered with ${said}`);
      return;
    }
    sender.heard++;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  // A message without a request would be a double.
  if (client.pending.length > 0) faults.push(`unasked: ${client.pending[0]?.payload}`);
}

/** Counts log lines as they arrive, as the log is long. */
interface LogCount {
  readonly seen: Map<string, number>;
  /** Waits for `count` events. @throws Error if a version is refused while another event is awaited */
  until(event: string, count: number): Promise<void>;
}

function countLog(server: ServerProcess): LogCount {
  const seen = new Map([refusal, 'handler swapped', 'handler rolled back'].map(event => [event, 0]));
  let rest = '';
  let wake = () => {};
  server.child.stderr!.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      for (const [event, count] of seen) if (line.includes(`"event":"${event}"`)) seen.set(event, count + 1);
    }
    wake();
  });
  return {
    seen,
    async until(event, count) {
      const refused = seen.get(refusal)!;
      while (seen.get(event)! < count) {
        if (event !== refusal && seen.get(refusal)! > refused)
          throw new Error(`a version was not loaded: ${server.stderr().slice(-1000)}`);
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
    },
  };
}

/** @returns the number of broken versions */
async function swapAll(
  log: LogCount,
  write: (source: string) => void,
  times: number,
  brokenEvery: number,
): Promise<number> {
  let broken = 0;
  for (let version = 1; version <= times; version++) {
    const kind = version % brokenEvery === 0 ? bad[broken++ % bad.length]! : undefined;
    const event = kind?.event ?? 'handler swapped';
    const before = log.seen.get(event)!;
    write(kind === undefined ? good(version) : `${kind.source}\n// ${version}`);
    await log.until(event, before + 1);
  }
  return broken;
}

async function heapOf(observer: RawClient): Promise<number> {
  observer.send(frame(opcode.text, 'heap'));
  return Number((await observer.nextFrame())?.payload.toString());
}

export function show({ clients, swaps, broken, messages, faults, heapBefore, heapAfter }: Outcome): string {
  const grown = (heapAfter - heapBefore) / 1024;
  return [
    `${clients} clients, ${swaps} swaps, ${broken} broken versions, ${messages} messages, ${faults.length} faults`,
    `heap ${Math.round(heapBefore / 1024)} KiB → ${Math.round(heapAfter / 1024)} KiB: ${(grown / swaps).toFixed(1)} KiB a swap`,
    ...faults,
  ].join('\n');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { values } = parseArgs({
    options: { times: { type: 'string', default: '200' }, clients: { type: 'string', default: '1000' } },
  });
  const outcome = await swarm(Number(values.clients), Number(values.times));
  console.log(show(outcome));
  process.exitCode = outcome.faults.length === 0 ? 0 : 1;
}
