/** The files of a server as a process: where they are, and the log, which is opened anew on reload. */
import { dirname } from 'node:path';
import type { Server } from '../connection/server.ts';
import { configureLog } from '../log/log.ts';
import { checkLog, logTo } from '../log/sink.ts';
import type { Configuration } from '../options/configuration.ts';
import { UsageError } from '../options/error.ts';
import { logPlace, type Places, pidPlace } from '../options/places.ts';
import { makeFolder } from '../storage/disk.ts';

/** Only the usual places are made: a folder that was named and is not there is more likely a slip. */
export function makeUsualFolders(configuration: Configuration, usual: Places): void {
  for (const place of [logPlace(configuration, usual), pidPlace(configuration, usual)]) {
    if (place !== usual.logFile && place !== usual.pidFile) continue;
    try {
      makeFolder(dirname(place));
    } catch {
      // Opening the file will say why not.
    }
  }
}

/**
 * The log goes where it is to go. On reload its file is opened anew: it may have been put aside, as logrotate does.
 * @throws Error, a sentence, where it cannot be opened
 */
export function openLogFile({ configuration, reloadables }: Server, usual: Places): void {
  const open = (now: Configuration) => {
    logTo(logPlace(now, usual));
    configureLog(now.logLevel, now.logFormat);
  };
  open(configuration);
  reloadables.push({
    async prepare(next) {
      try {
        checkLog(logPlace(next, usual));
      } catch (error) {
        // Whoever named it is told.
        throw new UsageError((error as Error).message);
      }
      return () => {
        open(next);
        return [];
      };
    },
  });
}
