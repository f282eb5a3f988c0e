/** Signals: SIGTERM and SIGINT drain the server, a second one ends the process, SIGHUP reloads. */
import { Exit } from '../options/error.ts';
import { exactClock } from './clock.ts';

/** SIGHUP arrived before the server was ready. */
let isReloadDue = false;

function noteReload(): void {
  isReloadDue = true;
}

/** Postpones SIGHUP until `installSignalHandlers`: by default, the signal would end the process. */
export function deferReload(): void {
  process.on('SIGHUP', noteReload);
}

export interface SignalTarget {
  isDraining(): boolean;
  drain(signal: string): void;
  reload(): void;
}

/**
 * Ctrl-C in a terminal interrupts all programs of the job, and npm passes the signal on, so `npx pollywog` gets it twice. The same
 * signal within this time counts once; milliseconds.
 */
const repeatTime = 100;

export function installSignalHandlers(server: SignalTarget): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    let last = Number.NEGATIVE_INFINITY;
    process.on(signal, () => {
      const now = exactClock();
      if (now - last < repeatTime) return;
      last = now;
      if (server.isDraining()) process.exit(Exit.Failed);
      server.drain(signal);
    });
  }
  process.off('SIGHUP', noteReload);
  process.on('SIGHUP', () => server.reload());
  if (isReloadDue) server.reload();
}
