import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Service } from '../rows.ts';
import type { Contender } from './contenders.ts';

export interface RunningServer {
  readonly port: number;
  readonly pid: number;
  /** The last lines of stderr, for the error of a failed run. */
  lastWords(): string;
  /** Kills the server and resolves when it has exited. */
  stop(): Promise<void>;
}

/** Milliseconds that a server may take to print its ready line. */
const readyTimeout = 10_000;

/** Starts a server and waits for its ready line: the first line of stdout that is JSON with a `port`. */
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
  // Reads all lines, so that a server that logs never blocks on a full pipe.
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

/** @returns the port of a ready line; undefined for any other line */
export function portIn(line: string): number | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const { port } = JSON.parse(line);
    return Number.isInteger(port) && port > 0 ? port : undefined;
  } catch {
    return undefined;
  }
}
