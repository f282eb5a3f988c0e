/**
 * What a full spool costs the others: node build/test/bench/spool.js [--files N] [--rounds N] [--every MS,MS]
 *
 * One client sends a message to the echo some time after the last one is back, or at once (0). Its round trips are timed
 * while nothing else happens, and while the server runs N files with a command each, which another process has put there
 * in one go. Then the files are run once more without the client, to see what they cost the loop's thread.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { roundTrip } from '../support/echoProbe.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const warmUp = 1000;
const idleSeconds = 5;
/** How often it is looked whether the files are through; milliseconds. */
const lookEvery = 20;

interface Bench {
  readonly server: ServerProcess;
  readonly client: RawClient;
  readonly folder: string;
  readonly files: number;
  /** How often files were put into the spool. */
  rounds: number;
}

/** Of one round; milliseconds, but for the costs. */
interface Figures {
  readonly p50: readonly [idle: number, busy: number];
  readonly p99: readonly [idle: number, busy: number];
  readonly seconds: number;
  /** Microseconds of the loop's thread for a file. */
  readonly cost: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      files: { type: 'string', default: '1000' },
      rounds: { type: 'string', default: '3' },
      every: { type: 'string', default: '0,1' },
    },
  });
  for (const every of values.every.split(',').map(Number)) {
    const rounds: Figures[] = [];
    for (let i = 0; i < Number(values.rounds); i++) rounds.push(await measure(Number(values.files), every));
    const what =
      every === 0 ? 'a client that echoes without a pause' : `a client that pauses for ${every} ms`;
    console.log(`${what}, ${values.files} files, median of ${rounds.length}:`);
    for (const share of ['p50', 'p99'] as const) {
      const idle = median(rounds.map(round => round[share][0]));
      const busy = median(rounds.map(round => round[share][1]));
      const ratio = median(rounds.map(round => round[share][1] / round[share][0]));
      console.log(`  ${share}  idle ${show(idle)}  spool ${show(busy)}  ratio ${ratio.toFixed(2)}`);
    }
    const seconds = median(rounds.map(round => round.seconds)).toFixed(1);
    console.log(
      `  ${seconds} s; ${median(rounds.map(round => round.cost)).toFixed(0)} µs of the loop a file`,
    );
  }
}

async function measure(files: number, every: number): Promise<Figures> {
  const folder = temporaryFolder();
  const log = join(folder, 'log');
  // To a file: whoever reads it otherwise is the process that takes the time.
  const server = await startServer('--spool', join(folder, 'spool'), '--log-file', log);
  try {
    const client = await connectRaw(server.port, { path: '/echo' });
    const bench: Bench = { server, client, folder, files, rounds: 0 };
    await tripTimes(client, every, count => count < warmUp);
    const until = performance.now() + idleSeconds * 1000;
    const idle = await tripTimes(client, every, () => performance.now() < until);
    const began = performance.now();
    const busy = await tripTimes(client, every, fillSpool(bench));
    const seconds = (performance.now() - began) / 1000;
    const before = loopMicroseconds(server.pid);
    const goesOn = fillSpool(bench);
    while (goesOn()) await wait(lookEvery);
    const cost = (loopMicroseconds(server.pid) - before) / files;
    client.destroy();
    const both = (share: number) => [quantile(idle, share), quantile(busy, share)] as const;
    return { p50: both(0.5), p99: both(0.99), seconds, cost };
  } finally {
    await server.kill();
  }
}

/** Another process moves files into the spool. @returns whether there are some that were not run */
function fillSpool(bench: Bench): () => boolean {
  const { folder, files } = bench;
  bench.rounds++;
  const name = (index: number) => `${bench.rounds}-${String(index).padStart(6, '0')}`;
  const drafts = join(folder, `drafts${bench.rounds}`);
  mkdirSync(drafts);
  for (let i = 0; i < files; i++) writeFileSync(join(drafts, `${name(i)}.cmd`), 'publish lobby hello\n');
  // It complains of files that are gone before it has looked what became of them.
  promisify(execFile)('sh', ['-c', `mv ${drafts}/*.cmd ${join(folder, 'spool')}/`]).catch(() => {});
  const last = join(folder, 'spool', `${name(files - 1)}.out`);
  let lookAt = 0;
  return () => {
    const now = performance.now();
    if (now < lookAt) return true;
    lookAt = now + lookEvery;
    return !existsSync(last);
  };
}

/** What the main thread has used so far, as Linux accounts for it. */
function loopMicroseconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'latin1').split(' ', 1)[0]) / 1000;
}

/** Milliseconds, in rising order. */
async function tripTimes(
  client: RawClient,
  every: number,
  goesOn: (count: number) => boolean,
): Promise<number[]> {
  const times: number[] = [];
  while (goesOn(times.length)) {
    const began = performance.now();
    await roundTrip(client);
    times.push(performance.now() - began);
    if (every > 0) await wait(every);
  }
  return times.sort((a, b) => a - b);
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

function median(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  );
}

function show(milliseconds: number): string {
  return `${milliseconds.toFixed(3)} ms`;
}

await main();
