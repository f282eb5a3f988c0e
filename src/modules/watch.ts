/** `--watch`: a module whose file changes is loaded again. A file that goes is only missed by `reload`: editors move files about. */
import { watch } from 'node:fs';
import { log } from '../log/log.ts';

/** A file is written in several steps: it is read when nothing has happened for so many milliseconds. */
const settling = 100;

/**
 * Watches for as long as the process runs, which it does not keep running.
 * @param load loads those modules again. It never fails
 */
export function watchFolder(folder: string, load: (names: ReadonlySet<string>) => Promise<void>): void {
  let names = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let isLoading = false;
  const settled = async () => {
    if (isLoading || names.size === 0) return;
    isLoading = true;
    const changed = names;
    names = new Set();
    await load(changed);
    isLoading = false;
    // What changed meanwhile.
    await settled();
  };
  const watcher = watch(folder, { persistent: false }, (_, file) => {
    if (file === null) return;
    names.add(file.slice(0, file.indexOf('.')));
    clearTimeout(timer);
    timer = setTimeout(settled, settling).unref();
  });
  watcher.on('error', error => log('error', 'handlers not watched', { folder, reason: error.message }));
}
