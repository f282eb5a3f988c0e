import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Service } from '../rows.ts';
import type { Contender } from './contenders.ts';

export interface RunningServer {
  readonly port: number;
  readonly pid: number;
  /** The end of what it said on stderr so far, for the error message of a failed run. */
  lastWords(): string;
  /** Kills it and resolves when it is gone. */
  stop(): Promise<void>;
}

/** How long a server may take to print its ready line, in milliseconds. */
const readyTimeout = 10_000;

/** Starts the server and resolves at its ready line: the first line on stdout that is JSON and has a `port`. */
export async function start(contender: Contender, service: Service): Promise<RunningServer> {
  const child = spawn(process.execPath, contender.arguments(service), { stdio: ['ignore', 'pipe', 'pipe'] });
  const gone = once(child, 'exit');
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    errors = (errors + text).slice(-2000);
  });
  const stop = async () => {
    child.kill('SIGKILL');
    await gone;
  };
  // The lines are read to the end: a server that logs must not block on a full pipe.
  const lines = createInterface(child.stdout);
  const port = await new Promise<number | undefined>(resolve => {
    const timer = setTimeout(resolve, readyTimeout, undefined);
    lines.on('close', () => resolve(undefined));
    lines.on('line', line => {
      const found = portIn(line);
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    });
  });
  if (port === undefined) {
    await stop();
    throw new Error(`${contender.key} did not become ready: ${errors || 'it said nothing'}`);
  }
  return { port, pid: child.pid!, lastWords: () => errors, stop };
}

/** The port that a ready line tells, or undefined for any other line. */
export function portIn(line: string): number | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const { port } = JSON.parse(line);
    return Number.isInteger(port) && port > 0 ? port : undefined;
  } catch {
    return undefined;
  }
}
