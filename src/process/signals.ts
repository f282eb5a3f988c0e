/** What the server does when the system says so. */

import type { Server } from '../core/server.ts';
import { reloadAndLog } from '../commands/reload.ts';
import type { Configuration } from '../options/configuration.ts';
import { Exit } from '../options/error.ts';
import { drain } from '../core/drain.ts';

/** SIGHUP came while the server was being started. */
let isReloadDue = false;

function noteReload(): void {
  isReloadDue = true;
}

/** Until the server can obey: the signal that asks for a reload must not end the process. */
export function expectReload(): void {
  process.on('SIGHUP', noteReload);
}

/** @param readAgain reads the configuration from where it was read at the start */
export function obeySignals(server: Server, readAgain: () => Configuration): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // The second one is meant: it does not wait.
      if (server.isDraining) process.exit(Exit.Failed);
      drain(server, signal);
    });
  }
  process.off('SIGHUP', noteReload);
  process.on('SIGHUP', () => void reloadAndLog(server, readAgain, 'SIGHUP'));
  if (isReloadDue) void reloadAndLog(server, readAgain, 'SIGHUP');
}
