/** A server for the soak, with a module, programs, a certificate, a spool and histories. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { formatMark, formatRecord } from '../../src/storage/log/line.ts';
import { currentSegment, segmentName } from '../../src/storage/log/segments.ts';
import { type ServerProcess, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { damagedRoom } from './load/chat.ts';
import type { Target } from './load/load.ts';
import { writeVersion } from './load/swaps.ts';

export interface Place {
  readonly folder: string;
  /** The server's TMPDIR. */
  readonly temporary: string;
  readonly control: string;
  readonly log: string;
  readonly server: ServerProcess;
  readonly target: Target;
  /** Removes the folder, after the server has exited. */
  remove(): void;
}

export interface PlaceOptions {
  /** `--poll-timeout`: how long sessions stay open without a poll. */
  readonly pollTimeout: string;
  /** `--max-memory`, in MiB. */
  readonly maxMemory: number;
  readonly loadsUnder: Launcher;
}

/** The command that runs the processes of the loads, with its arguments: it gives them a low priority. */
export type Launcher = readonly [string, ...string[]];

/** The server and the innocent clients get the CPU before the loads. */
export const niced: Launcher = ['nice', '-n', '10'];

/** A module that reports the memory of Node's buffers, garbage included, and its maximum since the last report. */
const memoryModule = `
  let most = 0;
  export function message() {}
  export function command() {
    const peak = most;
    most = 0;
    return { ...process.memoryUsage(), peakBuffers: peak };
  }
  setInterval(() => {
    most = Math.max(most, process.memoryUsage().arrayBuffers);
  }, 20).unref();
`;

export async function openPlace({ pollTimeout, maxMemory, loadsUnder }: PlaceOptions): Promise<Place> {
  const folder = temporaryFolder();
  const path = (name: string) => join(folder, name);
  for (const name of ['modules', 'data', 'temporary']) mkdirSync(path(name));
  writeVersion(path('modules'), 0);
  writeFileSync(path('modules/memory.mjs'), memoryModule);
  writeDamagedLog(path('data'));
  const [cert, key] = [path('cert.pem'), path('key.pem')];
  makeCertificate(cert, key);
  const program = (name: string, command: string) => {
    writeFileSync(path(name), `#!/bin/sh\nexec ${command}\n`);
    chmodSync(path(name), 0o755);
    return path(name);
  };
  const options = {
    'max-memory': `${maxMemory}MB`,
    'poll-timeout': pollTimeout,
    data: path('data'),
    // What channels keep is no leak, and must be gone when the rest is.
    'history-age': '5s',
    handlers: path('modules'),
    'rollback-window': '2s',
    spool: path('spool'),
    control: path('control'),
    config: 'none',
    'tls-cert': cert,
    'tls-key': key,
    'exec-grace': '1s',
    'exec-shared': 'shared=cat',
    'log-file': path('log'),
    'log-level': 'warn',
    'log-format': 'json',
  };
  const programs = [
    'cat=cat',
    `stdout=${program('stdout', `${loadsUnder.join(' ')} yes output`)}`,
    `stderr=${program('stderr', `${loadsUnder.join(' ')} yes error >&2`)}`,
  ];
  const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  const server = await startServerWith(
    ['-p', '0', '--host', '127.0.0.1', '--watch', ...words, ...programs.flatMap(one => ['--exec', one])],
    { environment: { ...process.env, TMPDIR: path('temporary') } },
  );
  return {
    folder,
    temporary: path('temporary'),
    control: path('control'),
    log: path('log'),
    server,
    target: { port: server.port, modules: path('modules'), spool: path('spool'), data: path('data') },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A log whose full segment has 200 damaged lines after each message. */
function writeDamagedLog(folder: string): void {
  const epoch = 'soak';
  const time = Date.now();
  const messages = Array.from({ length: 1000 }, (_, index) => {
    const content = {
      channel: damagedRoom,
      kind: 'text',
      data: Buffer.from('kept'),
      from: 'before',
    } as const;
    return formatRecord(epoch, { seq: index + 1, time, ...content }) + 'this is no message\n'.repeat(200);
  });
  const segment = formatMark({ epoch, next: 1 }, time) + messages.join('');
  writeFileSync(join(folder, segmentName(1)), segment);
  writeFileSync(join(folder, currentSegment), formatMark({ epoch, next: messages.length + 1 }, time));
}

function makeCertificate(cert: string, key: string): void {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const words = ['req', '-x509', ...curve, '-days', '30', '-subj', '/CN=localhost', '-keyout', key];
  execFileSync('openssl', [...words, '-out', cert], { stdio: ['ignore', 'ignore', 'pipe'] });
}

export interface Info {
  readonly connections: number;
  readonly counters: Readonly<Record<string, number>>;
  readonly memory: { readonly used: number };
  readonly limits: { readonly memory: number };
}

export const askInfo = (place: Pick<Place, 'control'>) => runCommand(place, 'info', {}) as Promise<Info>;

/** Node's memory figures, from a module of the soak. */
export const askMemory = (place: Place) =>
  runCommand(place, 'call', { name: 'memory' }) as Promise<NodeJS.MemoryUsage & { peakBuffers: number }>;

/** Runs a command through the control socket. */
function runCommand({ control }: Pick<Place, 'control'>, name: string, parameters: object): Promise<unknown> {
  const body = JSON.stringify(parameters);
  const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length };
  const options = { socketPath: control, path: `/api/${name}`, method: 'POST', headers };
  return new Promise((resolve, reject) => {
    const asking = request(options, async response => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      if (response.statusCode === 200) resolve(JSON.parse(text));
      else reject(new Error(`the command ${name} was answered: ${text}`));
    });
    asking.on('error', reject).end(body);
  });
}

/** The log's entries at level `error`: the first line of each event, and its count. */
export function loggedErrors({ log }: Pick<Place, 'log'>): Map<string, { line: string; times: number }> {
  const errors = new Map<string, { line: string; times: number }>();
  for (const line of readFileSync(log, 'utf8').split('\n')) {
    if (!line.includes('"level":"error"')) continue;
    const event = String((JSON.parse(line) as Record<string, unknown>)['event']);
    const { line: first, times } = errors.get(event) ?? { line, times: 0 };
    errors.set(event, { line: first, times: times + 1 });
  }
  return errors;
}
