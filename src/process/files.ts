/** The files of a server as a process: the log, which is opened anew on reload, and the process id's, which is made again then. */
import { dirname } from 'node:path';
import { configureLog, log } from '../log/log.ts';
import { checkLog, logTo } from '../log/sink.ts';
import type { Configuration, Reloadable } from '../options/configuration.ts';
import { UsageError } from '../options/error.ts';
import { type DefaultPaths, logPath, pidPath } from '../options/paths.ts';
import { makeFolder } from '../storage/disk.ts';
import { holdPidFile } from './pidFile.ts';

/** What is configured, and is read again on reload. */
interface Configured {
  readonly configuration: Configuration;
  readonly reloadables: Reloadable[];
}

/** Only the usual places are made: a folder that was named and is not there is more likely a slip. */
export function makeUsualFolders(configuration: Configuration, usual: DefaultPaths): void {
  for (const place of [logPath(configuration, usual), pidPath(configuration, usual)]) {
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
export function openLogFile({ configuration, reloadables }: Configured, usual: DefaultPaths): void {
  const open = (now: Configuration) => {
    logTo(logPath(now, usual));
    configureLog(now.logLevel, now.logFormat);
  };
  open(configuration);
  reloadables.push({
    async prepare(next) {
      makeUsualFolders(next, usual);
      try {
        checkLog(logPath(next, usual));
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

/**
 * Takes the PID file, if one is configured. A reload makes it again if it is gone; a failure then goes to the log and the
 * reload's answer.
 * @throws Error, a sentence, where another server has it, or it cannot be had
 */
export function openPidFile({ configuration, reloadables }: Configured, usual: DefaultPaths): void {
  const path = pidPath(configuration, usual);
  if (path === undefined) return;
  const restore = holdPidFile(path);
  reloadables.unshift({
    async prepare() {
      try {
        makeUsualFolders(configuration, usual);
        const isRestored = restore();
        return () => (isRestored ? [`${path} has the process id again`] : []);
      } catch (error) {
        const reason = (error as Error).message;
        log('warn', 'no pid file', { path, reason });
        return () => [reason];
      }
    },
  });
}
