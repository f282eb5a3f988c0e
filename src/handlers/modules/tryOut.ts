/**
 * Loads a module in a process of its own before the server does, so that a module that throws, exits or loops while loading
 * harms only this process. Arguments: the module's path, its name, and the time limit in milliseconds.
 *
 * The outcome is written to descriptor 3, as JSON. If there is none, the module ended the process.
 */
import { writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { maxModuleError } from '../../protocol/limits.ts';
import { readExports } from './exports.ts';

export interface TryOutcome {
  /** Without its subject, the module. */
  readonly error?: string;
}

const outcomeDescriptor = 3;
const [path = '', name = '', limit = '0'] = process.argv.slice(2);

// The server ends this process when the time is up. The watchdog does if the server was killed in the meantime.
const watchdog = `setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${Number(limit)} + 1000)`;
if (Number(limit) > 0) new Worker(watchdog, { eval: true }).unref();

function report(outcome: TryOutcome): void {
  writeSync(outcomeDescriptor, JSON.stringify(outcome));
}

/** Ends the process at once, whatever timers and listeners the module has. */
function end(): void {
  process.kill(process.pid, 'SIGKILL');
}

try {
  const namespace = (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>;
  const error = exportError(namespace);
  report(error === undefined ? {} : { error });
  end();
} catch (error) {
  const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  report({ error: `threw ${reason.slice(0, maxModuleError)}` });
  setTimeout(end, 500);
  // Left uncaught, because Node reports the line number of a syntax error only on stderr.
  throw error;
}

function exportError(namespace: Readonly<Record<string, unknown>>): string | undefined {
  try {
    readExports(namespace, name);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
