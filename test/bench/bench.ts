/**
 * The benchmark: node build/test/bench/bench.js [--rounds N] [--seconds S] [--only ROW,...] [--servers NAME,...] [--json]
 * or, for this build against another one of this server: bench.js --against FOLDER [--rounds N] …
 *
 * Each sample is a fresh server process under a load process of its own. The figure is the CPU time of the server's process
 * divided by the work done, so the load's own cost does not count. The servers take turns, so that other work of the
 * machine affects all of them. Linux only (/proc); run it from the top folder of the project.
 */
import { execFile } from 'node:child_process';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import type { Sample, Target } from './jobs.ts';
import { cellKey, comparison, format, json, markdown } from './report.ts';
import { type Row, rows } from './rows.ts';
import { type Contender, contenders, otherBuild, serves } from './servers/contenders.ts';
import { start } from './servers/start.ts';

const warmUp = 1;

const here = fileURLToPath(import.meta.url);
const loadScript = join(here, '..', 'load', `load${extname(here)}`);

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly json: boolean;
  readonly rows: readonly Row[];
  readonly contenders: readonly Contender[];
  /** Compare this build with another one. */
  readonly isComparison: boolean;
}

/** @throws Error, a sentence, for an unknown argument */
function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '2.5' },
      only: { type: 'string' },
      servers: { type: 'string' },
      json: { type: 'boolean', default: false },
      against: { type: 'string' },
    },
  });
  const rounds = Number(values.rounds);
  const seconds = Number(values.seconds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a whole number from 1 up');
  if (!(seconds >= 0.1 && seconds <= 60)) throw new Error('--seconds takes a number from 0.1 to 60');
  return {
    rounds,
    seconds,
    json: values.json,
    rows: choose('--only', values.only, rows),
    contenders:
      values.against === undefined
        ? choose('--servers', values.servers, contenders)
        : [otherBuild(values.against), ...contenders.filter(({ key }) => key === 'pollywog')],
    isComparison: values.against !== undefined,
  };
}

function choose<Item extends { key: string }>(
  option: string,
  list: string | undefined,
  all: readonly Item[],
) {
  if (list === undefined) return all;
  const keys = list.split(',');
  const known = all.map(item => item.key);
  const unknown = keys.find(key => !known.includes(key));
  if (unknown !== undefined) throw new Error(`${option}: there is no "${unknown}", but ${known.join(', ')}`);
  return all.filter(item => keys.includes(item.key));
}

/** Takes one sample of a server: starts it, loads it and stops it. */
async function sample(row: Row, contender: Contender, seconds: number): Promise<Sample> {
  const server = await start(contender, row.service);
  const { port, pid } = server;
  const { raw, packets } = contender;
  const tls = row.service === 'echo-tls';
  const target: Target = { port, pid, raw, tls, packets, warmUp, seconds };
  const load = [loadScript, JSON.stringify(target), JSON.stringify(row.job)];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, load, {
      timeout: 60_000 + seconds * 3000,
    });
    return JSON.parse(stdout);
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const why = [stderr || message, server.lastWords()].join('\n').trim();
    throw new Error(`${contender.key}, ${row.key}: ${why}`);
  } finally {
    await server.stop();
  }
}

interface Prepared {
  /** By the contender's key: its version, or why it cannot run. */
  readonly versions: Map<string, string>;
  readonly missing: Map<string, string>;
}

/** Reports on stderr which of the chosen servers cannot run. */
function prepare({ contenders, rows }: Options): Prepared {
  const versions = new Map<string, string>();
  const missing = new Map<string, string>();
  for (const contender of contenders) {
    if (!rows.some(row => serves(contender, row.service))) continue;
    const ready = contender.prepare();
    if ('version' in ready) versions.set(contender.key, ready.version);
    else missing.set(contender.key, ready.missing);
    if ('missing' in ready) console.error(`without ${contender.title}: ${ready.missing}`);
  }
  return { versions, missing };
}

async function bench(options: Options): Promise<void> {
  const { versions, missing } = prepare(options);
  const runnable = options.contenders.filter(contender => versions.has(contender.key));
  const samples = new Map<string, Sample[]>();
  for (let round = 1; round <= options.rounds; round++) {
    for (const row of options.rows) {
      const stands = (contender: Contender) =>
        (row.raw || !contender.raw) &&
        serves(contender, row.service) &&
        (row.only === undefined || contender.key === 'base' || row.only.includes(contender.key));
      const those = runnable.filter(stands);
      // The two builds take turns in coming first.
      for (const contender of round % 2 === 0 ? those.reverse() : those) {
        const result = await sample(row, contender, options.seconds);
        const cell = cellKey(row, contender);
        samples.set(cell, [...(samples.get(cell) ?? []), result]);
        const { figure, perSecond, cores } = result;
        const load = `${Math.round(perSecond)}/s, ${cores.toFixed(2)} cores`;
        console.error(`${round}/${options.rounds} ${row.key} ${contender.key}: ${format(figure)} (${load})`);
      }
    }
  }
  const { rounds, seconds } = options;
  const date = new Date().toISOString().slice(0, 10);
  const results = {
    date,
    rounds,
    seconds,
    rows: options.rows,
    contenders: options.contenders,
    versions,
    missing,
    samples,
  };
  const report = options.isComparison ? comparison : markdown;
  process.stdout.write(options.json ? json(results) : report(results));
}

function complain(error: unknown, exitCode: number): never {
  console.error(`bench: ${(error as Error).message}`);
  process.exit(exitCode);
}

let options: Options;
try {
  options = readOptions(process.argv.slice(2));
} catch (error) {
  complain(error, 2);
}
if (process.platform !== 'linux') complain(new Error('it reads /proc, which only Linux has'), 1);
await bench(options).catch(error => complain(error, 1));
