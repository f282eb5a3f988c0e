/**
 * Loads a program in parts. Node opens all files of one import at once: loading everything together would need a hundred more
 * descriptors than the running server.
 */
import { Exit } from './error.ts';

/** @param parts each imports a part of the program, in order; the last one runs it */
export async function load(name: string, parts: readonly (() => Promise<unknown>)[]): Promise<void> {
  try {
    for (const part of parts) await part();
  } catch (error) {
    const why = tooFewFiles.get((error as NodeJS.ErrnoException).code ?? '');
    if (why === undefined) throw error;
    process.stderr.write(`${name}: cannot start: ${why}\n`);
    process.exit(Exit.Failed);
  }
}

const tooFewFiles: ReadonlyMap<string, string> = new Map([
  ['EMFILE', 'the limit on open files is too low; raise it, for instance with ulimit -n 1024'],
  ['ENFILE', 'the system has too many files open; close some, or raise fs.file-max'],
]);
