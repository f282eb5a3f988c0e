/** Signals: SIGTERM and SIGINT drain the server, a second one ends the process, SIGHUP reloads. */
import { Exit } from '../options/error.ts';

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

export function installSignalHandlers(server: SignalTarget): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (server.isDraining()) process.exit(Exit.Failed);
      server.drain(signal);
    });
  }
  process.off('SIGHUP', noteReload);
  process.on('SIGHUP', () => server.reload());
  if (isReloadDue) server.reload();
}
