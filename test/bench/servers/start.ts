import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Service } from '../rows.ts';
import type { Contender } from './contenders.ts';

export interface RunningServer {
  readonly port: number;
  /** The process that is measured. */
  readonly pid: number;
  /** The last lines of stderr, for the error of a failed run. */
  lastWords(): string;
  /** Ends the server and resolves when it has exited. */
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
    child.kill(contender.stopSignal ?? 'SIGKILL');
    await gone;
  };
  // Reads all lines, so that a server that logs never blocks on a full pipe.
  const lines = createInterface(child.stdout);
  const ready = await new Promise<Ready | undefined>(resolve => {
    const timer = setTimeout(resolve, readyTimeout, undefined);
    lines.on('close', () => resolve(undefined));
    lines.on('line', line => {
      const found = readyIn(line);
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    });
  });
  if (ready === undefined) {
    await stop();
    throw new Error(`${contender.key} did not become ready: ${errors || 'it said nothing'}`);
  }
  return { port: ready.port, pid: ready.pid ?? child.pid!, lastWords: () => errors, stop };
}

interface Ready {
  readonly port: number;
  /** Undefined if the line does not have it: then that of the started process. */
  readonly pid: number | undefined;
}

/** @returns what a ready line says; undefined for any other line */
export function readyIn(line: string): Ready | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const { port, pid } = JSON.parse(line);
    return Number.isInteger(port) && port > 0 ? { port, pid } : undefined;
  } catch {
    return undefined;
  }
}
