/** What a server holds, and whether it gives it back when the load is over. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { openDescriptors } from '../support/processState.ts';
import { askInfo, type Place } from './place.ts';

const kinds = [
  'connections',
  'bytes of used memory',
  'descriptors',
  'child processes',
  'temporary files',
  'files in running/',
] as const;

export type Holdings = Readonly<Record<(typeof kinds)[number], number>>;

export async function holdingsOf(place: Place): Promise<Holdings> {
  const { connections, memory } = await askInfo(place);
  return {
    connections,
    'bytes of used memory': memory.used,
    descriptors: openDescriptors(place.server.pid),
    'child processes': childProcesses(place).length,
    'temporary files': filesIn(place.temporary),
    'files in running/': filesIn(`${place.target.spool}/running`),
  };
}

const filesIn = (folder: string) => readdirSync(folder, { recursive: true }).length;

/**
 * Ids of the processes that the server has started, their children included, dead ones that nobody has waited for as well:
 * they have inherited its environment, where its folder is found.
 */
export function childProcesses({ server, temporary }: Place): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => pid !== server.pid)
    .filter(pid => {
      try {
        const [, parent] = /^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? [];
        if (Number(parent) === server.pid) return true;
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(temporary);
      } catch {
        // It has ended meanwhile, or is another user's.
        return false;
      }
    });
}

export interface Remains {
  /** Until everything was given back. */
  readonly seconds: number;
  /** Sentences: what was not. */
  readonly left: readonly string[];
}

/** Waits until the server holds no more than it did before the load. @param patience seconds */
export async function untilGivenBack(place: Place, before: Holdings, patience: number): Promise<Remains> {
  const from = performance.now();
  for (;;) {
    const now = await holdingsOf(place);
    const seconds = (performance.now() - from) / 1000;
    const left = kinds
      .filter(kind => now[kind] > before[kind])
      .map(
        kind => `${seconds.toFixed(0)} s after the load there are ${now[kind]} ${kind}, not ${before[kind]}`,
      );
    if (left.length === 0 || seconds > patience) return { seconds, left };
    await wait(100);
  }
}
