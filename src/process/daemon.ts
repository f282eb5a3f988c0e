/**
 * `--daemon`: the process starts itself once more, in a session of its own, and waits until that daemon listens or fails.
 * The daemon's stderr is the log file from the beginning, so that a crash of Node leaves a trace there.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openLog } from '../log/log.ts';
import { printableLine } from '../log/printable.ts';
import { Exit } from '../options/error.ts';

/** What the daemon sends to its parent. */
type DaemonMessage =
  | { readonly kind: 'ready'; readonly lines: readonly string[] }
  | { readonly kind: 'failed'; readonly sentence: string; readonly exitCode: number };

/** The process that started the daemon. Either call ends its wait. */
export interface Parent {
  ready(lines: readonly string[]): Promise<void>;
  failed(sentence: string, exitCode: number): Promise<void>;
}

/** The variable that tells a daemon its parent's process ID. Removed at once: the daemon's own children are no daemons. */
const parentVariable = 'DAEMON_OF_POLLYWOG_PROCESS';

/**
 * Starts the daemon with this process's command line, and waits until it listens or fails.
 * @param logPath a file, or `none`
 * @returns the exit code of this process
 */
export async function startDaemon(logPath: string): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    stdio: ['ignore', 'ignore', logPath === 'none' ? 'ignore' : openLog(logPath), 'ipc'],
    env: { ...process.env, [parentVariable]: String(process.pid) },
  });
  const message = await new Promise<DaemonMessage>(resolve => {
    const ended = (how: string) =>
      resolve({ kind: 'failed', sentence: `the daemon ${how}; see ${logPath}`, exitCode: Exit.Failed });
    child.once('message', received => resolve(received as DaemonMessage));
    child.once('error', error => ended(`cannot be started: ${error.message}`));
    child.once('exit', (code, signal) => ended(`ended (${signal ?? code}) before it listened`));
  });
  if (message.kind === 'ready') {
    if (child.connected) child.disconnect();
    child.unref();
    for (const line of message.lines) process.stdout.write(`${line}\n`);
    return Exit.Done;
  }
  // A caller that starts the server again at once must not find this daemon's PID file.
  if (child.exitCode === null && child.signalCode === null && child.pid !== undefined)
    await once(child, 'exit');
  process.stderr.write(`pollywog: ${printableLine(message.sentence)}\n`);
  return message.exitCode;
}

/** The parent, if this process is a daemon. Until the daemon is ready, it ends with its parent. */
export function findParent(): Parent | undefined {
  const isDaemon = process.env[parentVariable] === String(process.ppid) && process.send !== undefined;
  delete process.env[parentVariable];
  if (!isDaemon) return undefined;
  const exitWithParent = () => process.exit(Exit.Failed);
  process.once('disconnect', exitWithParent);
  const send = (message: DaemonMessage) =>
    new Promise<void>(resolve => {
      process.off('disconnect', exitWithParent);
      process.send?.(message, () => {
        if (process.connected) process.disconnect();
        resolve();
      });
    });
  return {
    ready: lines => send({ kind: 'ready', lines }),
    failed: (sentence, exitCode) => send({ kind: 'failed', sentence, exitCode }),
  };
}
