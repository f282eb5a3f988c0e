/** What the server does when the system says so. */

import type { Server } from '../connection/server.ts';
import { reloadAndLog } from '../control/reload.ts';
import type { Configuration } from '../options/configuration.ts';
import { Exit } from '../options/error.ts';
import { drain } from './drain.ts';

/** @param readAgain reads the configuration from where it was read at the start */
export function obeySignals(server: Server, readAgain: () => Configuration): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // The second one is meant: it does not wait.
      if (server.isDraining) process.exit(Exit.Failed);
      drain(server, signal);
    });
  }
  process.on('SIGHUP', () => void reloadAndLog(server, readAgain));
}
