/** The processes that make the load, and their work so far. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Counts, Load, Target } from './load/load.ts';
import { groups } from './load/loads.ts';
import type { Launcher } from './place.ts';

const script = fileURLToPath(new URL('./generator.js', import.meta.url));

export interface LoadCounts extends Counts {
  readonly load: Load;
}

export interface Generators {
  counts(): LoadCounts[];
  /** Whether each load has done something. */
  haveAllBegun(): boolean;
  /** The names of generators that have exited by themselves. */
  failed(): string[];
  /** Kills the generators: the server must notice their broken connections. */
  kill(): Promise<void>;
}

/** @param chosen names of loads */
export function startGenerators(
  target: Target,
  chosen: readonly string[],
  [command, ...words]: Launcher,
): Generators {
  const loads = Object.entries(groups).map(
    ([group, all]) => [group, all.filter(({ name }) => chosen.includes(name))] as const,
  );
  const children = new Map<string, ChildProcess>();
  const reports = new Map<string, Record<string, Counts>>();
  for (const [name, own] of loads) {
    if (own.length === 0) continue;
    const child = fork(script, [name, JSON.stringify(chosen), JSON.stringify(target)], {
      execPath: command,
      execArgv: [...words, process.execPath],
    });
    child.on('message', report => reports.set(name, report as Record<string, Counts>));
    children.set(name, child);
  }
  const hasEnded = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;
  const counts = () =>
    loads.flatMap(([name, own]) =>
      own.map(load => {
        const { done = 0, refused = 0, closed = 0 } = reports.get(name)?.[load.name] ?? {};
        return { load, done, refused, closed };
      }),
    );
  return {
    counts,
    haveAllBegun: () => counts().every(({ done }) => done > 0),
    failed: () => [...children].filter(([, child]) => hasEnded(child)).map(([name]) => name),
    async kill() {
      await Promise.all(
        [...children.values()].map(async child => {
          if (hasEnded(child)) return;
          const ended = once(child, 'exit');
          child.kill('SIGKILL');
          await ended;
        }),
      );
    },
  };
}
