/**
 * Everything at once against one server: node build/test/soak/soak.js [--seconds 600] [--only LOAD,...] [--every 10] (`make soak`).
 *
 * Everyday clients, swaps of a module, programs, commands, and every flood that a stranger can make, while the test watches
 * the server's memory, times innocent clients and connects new ones. A second server has only innocent clients: their delay
 * is the machine's. After the load, the server must have freed everything.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { assertServes } from '../support/echoProbe.ts';
import { MiB, mainThreadTime, residentMemory, type ThreadTime } from '../support/processState.ts';
import { showFigures } from './figures.ts';
import { startGenerators } from './generators.ts';
import type { InnocentReports } from './innocent.ts';
import { loadNames } from './load/loads.ts';
import {
  askInfo,
  askMemory,
  type Launcher,
  loggedErrors,
  openPlace,
  type Place,
  type PlaceOptions,
} from './place.ts';
import { childProcesses, holdingsOf, type Remains, untilGivenBack } from './remains.ts';
import { delaysOf, faultsOf, type Outcome, showOutcome } from './report.ts';

export interface SoakOptions extends PlaceOptions {
  /** The load continues for longer until every kind of it has done something: the machine may be busy. */
  readonly seconds: number;
  /** The names of the loads. Default: all. */
  readonly only?: readonly string[];
  /** Shows a line every `every` seconds. */
  readonly progress?: { every: number; show(line: string): void };
}

const sampleEvery = 100;
/** Seconds beyond the longest timeout in which the server must free everything. */
const patience = 60;
/** Seconds from SIGTERM to the exit of a server. */
const exitPatience = 30;

/** Events that may be logged at level `error`: the load has broken modules. */
const expectedErrors = new Set(['handler not loaded', 'handler failed', 'handler rolled back']);

export async function soak(options: SoakOptions): Promise<Outcome> {
  const places = await Promise.all([openPlace(options), openPlace(options)]);
  const [place, quiet] = places;
  try {
    return await run(place, quiet, options);
  } finally {
    for (const { server, remove } of places) {
      await server.kill();
      remove();
    }
  }
}

async function run(place: Place, quiet: Place, options: SoakOptions): Promise<Outcome> {
  const { seconds, progress = { every: seconds, show() {} } } = options;
  const { server } = place;
  const faults: string[] = [];
  // The first client makes the server allocate what it never frees.
  await assertServes(server.port);
  const before = await holdingsOf(place);
  const innocents = await startInnocents([server.port, quiet.server.port]);
  const generators = startGenerators(place.target, options.only ?? loadNames, options.loadsUnder);
  const peak = watchMemory(place);
  const quietPeak = watchMemory(quiet);
  const timeBefore = mainThreadTime(server.pid);
  const from = performance.now();
  const elapsed = () => (performance.now() - from) / 1000;
  let isAlive = true;
  server.exited.then(() => {
    isAlive = false;
  });
  const mayEnd = () => elapsed() >= seconds && (generators.haveAllBegun() || elapsed() >= patience + seconds);
  for (let shown = 0; isAlive && !mayEnd(); await wait(sampleEvery)) {
    if (elapsed() < shown + progress.every) continue;
    shown += progress.every;
    progress.show(await showProgress(elapsed(), place, await innocents.report()));
  }
  const [innocent, control] = await innocents.stop();
  const thread = isAlive ? timeSince(timeBefore, mainThreadTime(server.pid)) : undefined;
  const info = isAlive ? await askInfo(place) : undefined;
  for (const name of generators.failed()) faults.push(`the process of the load "${name}" has ended`);
  const loads = generators.counts();
  await generators.kill();
  const remains = isAlive ? await untilGivenBack(place, before, patience) : nothingToLookAt;
  if (!isAlive)
    faults.push(`the server ended after ${elapsed().toFixed(0)} s: ${server.stderr().slice(-1000)}`);
  const exits = [await stop(place), await stop(quiet)];
  for (const one of [place, quiet]) {
    const orphans = childProcesses(one);
    if (orphans.length > 0) faults.push(`${orphans.length} processes outlive their server`);
    for (const [event, { line, times }] of loggedErrors(one)) {
      if (!expectedErrors.has(event)) faults.push(`the log has an error ${times} times: ${line}`);
    }
  }
  return {
    ...{
      seconds,
      maxMemory: options.maxMemory,
      memory: peak.stop().bytes,
      peakAt: peak.stop().seconds,
      controlMemory: quietPeak.stop().bytes,
    },
    ...{ innocent: innocent!, control: control!, thread, loads, info, remains, exits, faults },
  };
}

const timeSince = (before: ThreadTime, now: ThreadTime): ThreadTime => ({
  ran: now.ran - before.ran,
  waited: now.waited - before.waited,
});

const nothingToLookAt: Remains = { seconds: 0, left: [] };

async function stop({ server }: Place): Promise<number | null> {
  const late = wait(exitPatience * 1000, null, { ref: false });
  return Promise.race([server.stop(), late]);
}

export interface Innocents {
  report(): Promise<InnocentReports>;
  stop(): Promise<InnocentReports>;
}

/** Starts the innocent clients of the servers at these ports. */
export async function startInnocents(ports: readonly number[]): Promise<Innocents> {
  const script = fileURLToPath(new URL('./innocent.js', import.meta.url));
  const child = fork(
    script,
    ports.map(port => `${port}`),
  );
  await once(child, 'message');
  return { report: () => ask(child, 'report'), stop: () => ask(child, 'stop') };
}

async function ask(child: ChildProcess, word: string): Promise<InnocentReports> {
  const answer = once(child, 'message');
  child.send(word);
  const [reports] = await answer;
  return reports as InnocentReports;
}

/** The highest sample and its time. */
export function watchMemory({ server }: Pick<Place, 'server'>): {
  stop(): { bytes: number; seconds: number };
} {
  const from = performance.now();
  let peak = { bytes: 0, seconds: 0 };
  const timer = setInterval(() => {
    if (server.child.exitCode !== null || server.child.signalCode !== null) return;
    const bytes = residentMemory(server.pid);
    if (bytes > peak.bytes) peak = { bytes, seconds: (performance.now() - from) / 1000 };
  }, sampleEvery);
  return {
    stop() {
      clearInterval(timer);
      return peak;
    },
  };
}

async function showProgress(seconds: number, place: Place, [own, quiet]: InnocentReports): Promise<string> {
  const { connections, memory, counters } = await askInfo(place);
  const { rss, heapUsed, arrayBuffers, peakBuffers } = await askMemory(place);
  const show = (bytes: number) => `${(bytes / MiB).toFixed(0)} MiB`;
  return [
    `${seconds.toFixed(0)} s`,
    `rss ${show(rss)}, heap ${show(heapUsed)}, buffers ${show(arrayBuffers)} (at most ${show(peakBuffers)}), used ${show(memory.used)}`,
    `${connections} connections, ${counters['evicted']} evicted`,
    `echo ${showFigures(own!.echo)} ms (quiet ${showFigures(quiet!.echo)})`,
    `newcomers ${showFigures(own!.newcomers)} ms`,
  ].join('; ');
}

/**
 * The loads run only while the server and the innocent clients leave a processor idle, as if they came from other machines:
 * otherwise the delays would be those of the scheduler.
 */
const whenIdle: Launcher = ['chrt', '--idle', '0'];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '600' },
      only: { type: 'string' },
      every: { type: 'string', default: '10' },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds >= 1 && Number(values.every) > 0))
    throw new Error('--seconds and --every take a number from 1 up');
  const only = values.only?.split(',') ?? loadNames;
  const unknown = only.find(name => !loadNames.includes(name));
  if (unknown !== undefined)
    throw new Error(`--only: there is no "${unknown}"; choose of: ${loadNames.join(', ')}`);
  const progress = {
    every: Number(values.every),
    show: (line: string) => process.stderr.write(`soak: ${line}\n`),
  };
  const outcome = await soak({
    ...{ seconds, only, progress },
    ...{ pollTimeout: '15s', maxMemory: 256, loadsUnder: whenIdle },
  });
  const wrong = [...faultsOf(outcome), ...delaysOf(outcome)];
  process.stdout.write(`${showOutcome(outcome)}\n\n${wrong.length === 0 ? 'ok' : wrong.join('\n')}\n`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main().catch((error: Error) => {
    process.stderr.write(`soak: ${error.stack}\n`);
    process.exitCode = 1;
  });
}
