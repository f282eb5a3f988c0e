/**
 * A process of its own, in which a module is loaded before the server does: one that throws, exits or never comes to an end
 * while loading does that here. Called with the module's path, the name it would get, and the milliseconds it has.
 *
 * The outcome goes to descriptor 3, as JSON. Without one, the module made an end of the process.
 */
import { writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { maxModuleError } from '../../protocol/limits.ts';
import { readExports } from './exports.ts';

export interface TryOutcome {
  /** What went wrong; undefined: nothing. */
  readonly error?: string;
}

const outcomeDescriptor = 3;
const [path = '', name = '', limit = '0'] = process.argv.slice(2);

// The server ends this process when time is up. If the server itself is killed meanwhile, nobody else would.
const watchdog = `setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${Number(limit)} + 1000)`;
if (Number(limit) > 0) new Worker(watchdog, { eval: true }).unref();

function tell(outcome: TryOutcome): void {
  writeSync(outcomeDescriptor, JSON.stringify(outcome));
}

/** At once, whatever the module has set going. */
function end(): void {
  process.kill(process.pid, 'SIGKILL');
}

try {
  const namespace = (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>;
  const error = whatIsWrong(namespace);
  tell(error === undefined ? {} : { error });
  end();
} catch (error) {
  const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  tell({ error: `threw ${reason.slice(0, maxModuleError)}` });
  setTimeout(end, 500);
  // Uncaught, as Node then says on stderr in which line it was, which it tells nobody else of a syntax error.
  throw error;
}

function whatIsWrong(namespace: Readonly<Record<string, unknown>>): string | undefined {
  try {
    readExports(namespace, name);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
