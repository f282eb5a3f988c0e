/** The resources of a server, and whether it has freed them after the load. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { pipesPerProgram } from '../../src/handlers/programs/pipes.ts';
import { pipesPerBatch } from '../../src/protocol/limits.ts';
import { askInfo, type Place } from './place.ts';

const kinds = [
  'connections',
  'bytes of used memory',
  'descriptors',
  'child processes',
  'temporary files',
  'files in running/',
] as const;

export interface Holdings extends Readonly<Record<(typeof kinds)[number], number>> {
  /** What the descriptors refer to. */
  readonly files: readonly string[];
}

export async function holdingsOf(place: Place): Promise<Holdings> {
  const { connections, memory } = await askInfo(place);
  const files = openFiles(place.server.pid);
  return {
    files,
    connections,
    'bytes of used memory': memory.used,
    descriptors: files.length - Math.min(files.filter(isStock).length, mostStock) - startersOf(place),
    'child processes': childProcesses(place, command => !isStarter(command)).length,
    'temporary files': filesIn(place.temporary),
    'files in running/': filesIn(`${place.target.spool}/running`),
  };
}

/** Processes that start programs and try modules, which stay until the server ends. The server has one descriptor for each. */
const startersOf = (place: Place) => childProcesses(place, isStarter).length;
const isStarter = (command: string) => command.includes('starterProcess');

/** Spare pipes for the next programs stay open. */
const isStock = (file: string) => file.includes('pollywog-pipes-');
const mostStock = 4 * pipesPerBatch * pipesPerProgram;

function openFiles(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).map(name => {
    try {
      return readlinkSync(`${folder}/${name}`);
    } catch {
      return 'closed meanwhile';
    }
  });
}

const filesIn = (folder: string) => readdirSync(folder, { recursive: true }).length;

/**
 * The ids of the processes that the server has started, with their children and with zombies. They are recognised by the
 * server's folder in their environment.
 */
export function childProcesses(
  { server, temporary }: Place,
  isWanted: (command: string) => boolean = () => true,
): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => pid !== server.pid)
    .filter(pid => {
      try {
        if (!isWanted(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))) return false;
        const [, parent] = /^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? [];
        if (Number(parent) === server.pid) return true;
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(temporary);
      } catch {
        // The process has exited meanwhile, or belongs to another user.
        return false;
      }
    });
}

export interface Remains {
  /** Seconds until everything was freed. */
  readonly seconds: number;
  /** Sentences about what was not freed. */
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
    if (left.length === 0) return { seconds, left };
    if (seconds > patience) {
      const news = now.files.filter(file => !before.files.includes(file));
      return { seconds, left: [...left, `new descriptors: ${news.slice(0, 20).join(', ')}`] };
    }
    await wait(100);
  }
}
