/**
 * The server in the background: the process that was started starts itself once more, in a session of its own, and
 * stays until that one listens, or says why it does not. The second one's stderr is the log file from the beginning, so
 * that even what Node says when it dies is there.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { printableLine } from '../log/printable.ts';
import { openLog } from '../log/sink.ts';
import { Exit } from '../options/error.ts';

/** What the daemon tells the process that started it. */
type Word =
  | { readonly kind: 'ready'; readonly lines: readonly string[] }
  | { readonly kind: 'failed'; readonly sentence: string; readonly exitCode: number };

export interface Starter {
  /** It has done its part, and leaves. */
  ready(lines: readonly string[]): Promise<void>;
  failed(sentence: string, exitCode: number): Promise<void>;
}

/** In the daemon's environment: the process that started it. What it starts itself is no daemon by that. */
const startedBy = 'DAEMON_OF_POLLYWOG_PROCESS';

/**
 * Starts the daemon, with this process's own command line.
 * @param logPath a file, or `none`
 * @returns the exit code, when everything is said
 */
export async function startDaemon(logPath: string): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    stdio: ['ignore', 'ignore', logPath === 'none' ? 'ignore' : openLog(logPath), 'ipc'],
    env: { ...process.env, [startedBy]: String(process.pid) },
  });
  const word = await new Promise<Word>(resolve => {
    const ended = (how: string) =>
      resolve({ kind: 'failed', sentence: `the daemon ${how}; see ${logPath}`, exitCode: Exit.Failed });
    child.once('message', message => resolve(message as Word));
    child.once('error', error => ended(`cannot be started: ${error.message}`));
    child.once('exit', (code, signal) => ended(`ended (${signal ?? code}) before it listened`));
  });
  if (word.kind === 'ready') {
    if (child.connected) child.disconnect();
    child.unref();
    for (const line of word.lines) process.stdout.write(`${line}\n`);
    return Exit.Done;
  }
  // Whoever starts it again at once must not find its PID file.
  if (child.exitCode === null && child.signalCode === null && child.pid !== undefined)
    await once(child, 'exit');
  process.stderr.write(`pollywog: ${printableLine(word.sentence)}\n`);
  return word.exitCode;
}

/** In the daemon: whoever waits for it. If that one is ended before, the daemon is not wanted either. */
export function findStarter(): Starter | undefined {
  const isDaemon = process.env[startedBy] === String(process.ppid) && process.send !== undefined;
  delete process.env[startedBy];
  if (!isDaemon) return undefined;
  const abandoned = () => process.exit(Exit.Failed);
  process.once('disconnect', abandoned);
  const tell = (word: Word) =>
    new Promise<void>(resolve => {
      process.off('disconnect', abandoned);
      process.send?.(word, () => {
        if (process.connected) process.disconnect();
        resolve();
      });
    });
  return {
    ready: lines => tell({ kind: 'ready', lines }),
    failed: (sentence, exitCode) => tell({ kind: 'failed', sentence, exitCode }),
  };
}
