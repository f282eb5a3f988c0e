/**
 * The cost of a full spool for other clients: node build/test/bench/spool.js [--files N] [--rounds N] [--every MS,MS]
 *
 * A client sends a message to the echo handler some time after the last echo, or at once (0). Its round trips are timed
 * while the server is idle, and while it runs N files with a command each, which another process has put into the spool at
 * once. Then the files run again without the client, to measure their cost in the loop's thread.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { roundTrip } from '../support/echoProbe.ts';
import { mainThreadTime } from '../support/processState.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const warmUp = 1000;
const idleSeconds = 5;
/** Milliseconds between two looks at whether the files are processed. */
const lookEvery = 20;

interface Bench {
  readonly server: ServerProcess;
  readonly client: RawClient;
  readonly folder: string;
  readonly files: number;
  /** How many times files were put into the spool. */
  rounds: number;
}

/** The figures of one round, in milliseconds except for the costs. */
interface Figures {
  readonly p50: readonly [idle: number, busy: number];
  readonly p99: readonly [idle: number, busy: number];
  readonly seconds: number;
  /** Microseconds of the loop's thread per file. */
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
  // To a file, because reading the log would cost time in this process, which measures.
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

/** Moves files into the spool by another process. @returns whether some were not processed */
function fillSpool(bench: Bench): () => boolean {
  const { folder, files } = bench;
  bench.rounds++;
  const name = (index: number) => `${bench.rounds}-${String(index).padStart(6, '0')}`;
  const drafts = join(folder, `drafts${bench.rounds}`);
  mkdirSync(drafts);
  for (let i = 0; i < files; i++) writeFileSync(join(drafts, `${name(i)}.cmd`), 'publish lobby hello\n');
  // `mv` complains about files that the server removes before `mv` has checked them.
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

const loopMicroseconds = (pid: number) => 1000 * mainThreadTime(pid).ran;

/** Times in milliseconds, sorted. */
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
