/**
 * What a full spool costs the others: node build/test/bench/spool.js [--files N] [--rounds N] [--every MS]
 *
 * One client sends a message to the echo some time after the last one is back, or at once (0). Its round trips are timed
 * while nothing else happens, and while the server runs N files with a command each, which another process has put there
 * in one go.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { roundTrip } from '../support/echoProbe.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';

const warmUp = 1000;
const idleSeconds = 5;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      files: { type: 'string', default: '1000' },
      rounds: { type: 'string', default: '3' },
      every: { type: 'string', default: '1' },
    },
  });
  const files = Number(values.files);
  const every = Number(values.every);
  const folder = mkdtempSync(join(tmpdir(), 'pollywog-spool-'));
  const spool = join(folder, 'spool');
  const server = await startServer('--spool', spool);
  try {
    const client = await connectRaw(server.port, { path: '/echo' });
    await tripTimes(client, every, count => count < warmUp);
    for (let round = 1; round <= Number(values.rounds); round++) {
      const until = performance.now() + idleSeconds * 1000;
      const idle = await tripTimes(client, every, () => performance.now() < until);
      const began = performance.now();
      const busy = await whileSpooling(server, client, every, folder, files);
      const seconds = (performance.now() - began) / 1000;
      console.log(`round ${round}: ${files} files in ${seconds.toFixed(1)} s`);
      console.log(`  idle    ${show(idle)}`);
      console.log(`  spool   ${show(busy)}`);
      console.log(`  ratio   p50 ${ratio(busy, idle, 0.5)}  p99 ${ratio(busy, idle, 0.99)}`);
    }
    client.destroy();
  } finally {
    await server.kill();
    rmSync(folder, { recursive: true });
  }
}

async function whileSpooling(
  server: ServerProcess,
  client: RawClient,
  every: number,
  folder: string,
  files: number,
): Promise<number[]> {
  const drafts = join(folder, 'drafts');
  mkdirSync(drafts);
  for (let i = 0; i < files; i++) writeFileSync(join(drafts, name(i)), 'publish lobby hello\n');
  let done = 0;
  const count = (text: string) => {
    done += text.split('"spool file done"').length - 1;
  };
  server.child.stderr!.on('data', count);
  const moved = promisify(execFile)('sh', ['-c', `mv ${drafts}/*.cmd ${join(folder, 'spool')}/`]);
  const times = await tripTimes(client, every, () => done < files);
  server.child.stderr!.off('data', count);
  await moved;
  rmSync(drafts, { recursive: true });
  return times;
}

function name(index: number): string {
  return `${String(index).padStart(6, '0')}.cmd`;
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

function quantile(times: readonly number[], share: number): number {
  return times[Math.min(times.length - 1, Math.floor(times.length * share))]!;
}

function show(times: readonly number[]): string {
  const figure = (share: number) => `${quantile(times, share).toFixed(3)} ms`;
  return `p50 ${figure(0.5)}  p99 ${figure(0.99)}  max ${figure(1)}  (${times.length} round trips)`;
}

function ratio(busy: readonly number[], idle: readonly number[], share: number): string {
  return (quantile(busy, share) / quantile(idle, share)).toFixed(2);
}

await main();
