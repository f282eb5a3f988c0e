/** What the server does when the system says so. */
import { Exit } from '../options/error.ts';

/** SIGHUP came while the server was being started. */
let isReloadDue = false;

function noteReload(): void {
  isReloadDue = true;
}

/** Until the server can obey: the signal that asks for a reload must not end the process. */
export function expectReload(): void {
  process.on('SIGHUP', noteReload);
}

/** What signals ask a server for. */
export interface Signalled {
  isDraining(): boolean;
  drain(signal: string): void;
  reload(): void;
}

export function obeySignals(server: Signalled): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // The second one is meant: it does not wait.
      if (server.isDraining()) process.exit(Exit.Failed);
      server.drain(signal);
    });
  }
  process.off('SIGHUP', noteReload);
  process.on('SIGHUP', () => server.reload());
  if (isReloadDue) server.reload();
}
