/** The log of a server in a test's process: none, unless `logFile` is set. */

import { closeSync, writeSync } from 'node:fs';
import { openLog, watchLog } from '../log/log.ts';
import type { Server } from '../records/records.ts';

/**
 * Starts the log that the server's options choose. A reload may change `logLevel` and `logFormat`, but not the file.
 * @returns a function that ends the log
 * @throws Error if the file cannot be opened
 */
export function openServerLog({ configuration, reloadables }: Server): () => void {
  const { logFile } = configuration;
  if (logFile === 'none') return () => {};
  const isStderr = logFile === 'stderr' || logFile === 'auto';
  const file = isStderr ? undefined : openLog(logFile, 'logFile');
  const onLine = (line: string) => {
    try {
      if (file === undefined) process.stderr.write(line);
      else writeSync(file, line);
      return true;
    } catch {
      return false;
    }
  };
  let end = watchLog(onLine, configuration.logLevel, configuration.logFormat);
  reloadables.push({
    async prepare(next) {
      return () => {
        end();
        end = watchLog(onLine, next.logLevel, next.logFormat);
        return [];
      };
    },
  });
  return () => {
    end();
    if (file !== undefined) closeSync(file);
  };
}
