/**
 * Strangers against a server with default options (`make strangers`): node build/test/hostile/strangers.js [--seconds 120]
 * [--strangers 2000] [--connections 50000] [--only LOAD,...] [--max-memory 128MB]. First, strangers hold as much of its memory
 * as they can, in the ways that the page of limits names. Then one address opens as many connections as it can. Innocent
 * clients connect meanwhile.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { showFigures } from '../soak/figures.ts';
import { startGenerators } from '../soak/generators.ts';
import type { InnocentReport } from '../soak/innocent.ts';
import { hoards } from '../soak/load/hoards.ts';
import type { Counts } from '../soak/load/load.ts';
import { strangerNames } from '../soak/load/loads.ts';
import { askInfo, loggedErrors, niced } from '../soak/place.ts';
import { memoryBar } from '../soak/report.ts';
import { startInnocents, watchMemory } from '../soak/soak.ts';
import { assertServes } from '../support/echoProbe.ts';
import { MiB, residentMemory } from '../support/processState.ts';
import { type Hooks, type ServerProcess, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import type { OneAddress } from './oneAddress.ts';

export interface Outcome {
  /** Lines for people. */
  readonly report: readonly string[];
  /** Sentences. */
  readonly faults: readonly string[];
}

interface Place {
  readonly server: ServerProcess;
  readonly control: string;
  readonly log: string;
}

/** @param limits options that make the short form short */
async function openPlace(test: Hooks, limits: readonly string[]): Promise<Place> {
  const folder = temporaryFolder();
  const [control, log] = [join(folder, 'control'), join(folder, 'log')];
  const own = ['--control', control, '--log-file', log, '--log-format', 'json', '--config', 'none'];
  return { server: await startServerWith(['-p', '0', ...own, ...limits], { test }), control, log };
}

export interface HoardOptions {
  readonly seconds: number;
  readonly strangers: number;
  /** The names of the loads. Default: all that strangers can make. */
  readonly only?: readonly string[];
}

const commandEvery = 500;

/** How much longer the loads continue until each has done something: the machine may be busy. */
const patience = 60_000;

export async function hoardMemory(
  test: Hooks,
  { seconds, strangers, only = strangerNames }: HoardOptions,
  ...limits: readonly string[]
): Promise<Outcome> {
  const place = await openPlace(test, limits);
  const { server } = place;
  const limit = (await askInfo(place)).limits.memory / MiB;
  const innocents = await startInnocents([server.port]);
  const hoarders = Math.ceil(strangers / hoards.length);
  const target = { port: server.port, modules: '', spool: '', data: '', hoarders };
  const generators = startGenerators(target, only, niced);
  test.after(() => generators.kill());
  const before = residentMemory(server.pid);
  const memory = watchMemory(place);
  let isAlive = true;
  server.exited.then(() => {
    isAlive = false;
  });
  let commands = 0;
  let evicted = 0;
  let used = 0;
  const end = performance.now() + seconds * 1000;
  const haveAllActed = () => generators.counts().every(hasActed);
  const mayContinue = () =>
    performance.now() < end || (performance.now() < end + patience && !haveAllActed());
  while (isAlive && mayContinue()) {
    const info = await askInfo(place);
    commands++;
    evicted = info.counters['evicted'] ?? 0;
    used = Math.max(used, info.memory.used / MiB);
    await wait(commandEvery);
  }
  const [innocent] = await innocents.stop();
  const peak = memory.stop();
  const faults = [...generators.failed().map(name => `the process of the load "${name}" has ended`)];
  const loads = generators.counts();
  for (const one of loads) if (!hasActed(one)) faults.push(`the load "${one.load.name}" did nothing`);
  await generators.kill();
  if (isAlive) await assertServes(server.port);
  faults.push(...faultsOfServer(place, isAlive));
  // How long newcomers wait among these loads is the subject of the soak, and depends on the machine.
  if (innocent!.lost !== undefined) faults.push(`the innocent client was disconnected: ${innocent!.lost}`);
  if (peak.bytes > memoryBar(limit))
    faults.push(`the memory rose to ${show(peak.bytes)}, over ${show(memoryBar(limit))}`);
  return {
    report: [
      `${strangers} hoarders for ${seconds} s:`,
      `  memory: ${show(before)} before, at most ${show(peak.bytes)} after ${peak.seconds.toFixed(0)} s; the limit is ${show(memoryBar(limit))}`,
      `  counted: at most ${used.toFixed(0)} MiB of ${limit} MiB; ${evicted} connections closed for memory`,
      `  commands: ${commands}, each answered`,
      ...showInnocent(innocent!),
      ...loads.map(
        ({ load, done, refused, closed }) =>
          `  ${load.name}: ${done} ${load.unit}, ${refused} refused, ${closed} closed`,
      ),
    ],
    faults,
  };
}

/** A load of which the server has closed or refused each connection has acted, too. */
const hasActed = ({ done, refused, closed }: Counts) => done + refused + closed > 0;

/** How long the address holds its connections after it has tried all. */
const holdingTime = 5000;

export async function crowdFromOneAddress(
  test: Hooks,
  connections: number,
  ...limits: readonly string[]
): Promise<Outcome> {
  const place = await openPlace(test, limits);
  const { server } = place;
  let isAlive = true;
  server.exited.then(() => {
    isAlive = false;
  });
  const innocents = await startInnocents([server.port]);
  const script = fileURLToPath(new URL('oneAddress.js', import.meta.url));
  const child: ChildProcess = fork(script, [server.port, connections].map(String));
  test.after(() => void child.kill('SIGKILL'));
  const memory = watchMemory(place);
  let seen: OneAddress = { tried: 0, open: 0 };
  let most = 0;
  while (isAlive && seen.tried < connections) {
    [seen] = (await once(child, 'message')) as [OneAddress];
    most = Math.max(most, seen.open);
  }
  await wait(holdingTime);
  const [innocent] = await innocents.stop();
  const faults = [...faultsOfServer(place, isAlive), ...faultsOfInnocent(innocent!)];
  if (most === 0) faults.push('the address has opened no connection');
  return {
    report: [
      `one address tried ${seen.tried} connections, and had at most ${most} of them at once:`,
      `  memory: at most ${show(memory.stop().bytes)}`,
      ...showInnocent(innocent!),
    ],
    faults,
  };
}

function faultsOfServer(place: Place, isAlive: boolean): string[] {
  const faults = [...loggedErrors(place).values()].map(
    ({ line, times }) => `the log has an error ${times} times: ${line}`,
  );
  if (!isAlive) faults.push(`the server has ended: ${place.server.stderr().slice(-1000)}`);
  return faults;
}

function faultsOfInnocent({ lost, missing, failures, newcomers }: InnocentReport): string[] {
  const faults = Object.entries(failures).map(([why, times]) => `a newcomer: ${why} (${times} times)`);
  if (lost !== undefined) faults.push(`the innocent client was disconnected: ${lost}`);
  if (missing > 100) faults.push(`${missing} messages of the innocent client are not back`);
  if (newcomers.count === 0) faults.push('no newcomer was served');
  return faults;
}

function showInnocent({ echo, newcomers }: InnocentReport): string[] {
  return [
    `  an innocent client's echoes: ${showFigures(echo)} ms (p50 / p99 / most)`,
    `  ${newcomers.count} newcomers: ${showFigures(newcomers)} ms`,
  ];
}

const show = (bytes: number) => `${(bytes / MiB).toFixed(0)} MiB`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '120' },
      strangers: { type: 'string', default: '2000' },
      connections: { type: 'string', default: '50000' },
      only: { type: 'string' },
      'max-memory': { type: 'string' },
    },
  });
  const only = values.only?.split(',') ?? strangerNames;
  const maxMemory = values['max-memory'];
  const limits = maxMemory === undefined ? [] : ['--max-memory', maxMemory];
  const hooks: (() => void | Promise<void>)[] = [];
  const test = { after: (hook: () => void | Promise<void>) => void hooks.push(hook) };
  const outcomes = [
    await hoardMemory(
      test,
      { seconds: Number(values.seconds), strangers: Number(values.strangers), only },
      ...limits,
    ),
    await crowdFromOneAddress(test, Number(values.connections)),
  ];
  for (const hook of hooks) await hook();
  for (const { report } of outcomes) console.log(report.join('\n'));
  const faults = outcomes.flatMap(one => one.faults);
  console.log(faults.length === 0 ? 'ok' : faults.join('\n'));
  process.exit(faults.length === 0 ? 0 : 1);
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url))
  await main();
