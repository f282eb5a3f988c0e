/**
 * Loads a program in parts. Node opens all files of one import at once: loading everything together would need a hundred more
 * descriptors than the running server.
 */
import { Exit } from './error.ts';

/** The oldest Node that runs the program: `engines` in package.json, which `npm` only warns of. */
const oldestNode = 20;

/** @param parts each imports a part of the program, in order; the last one runs it */
export async function load(name: string, parts: readonly (() => Promise<unknown>)[]): Promise<void> {
  const { node } = process.versions;
  // An older Node would start the program, and fail later.
  if (Number.parseInt(node, 10) < oldestNode)
    return fail(name, `it needs Node ${oldestNode} or newer, and this is Node ${node}`);
  try {
    for (const part of parts) await part();
  } catch (error) {
    const why = tooFewFiles.get((error as NodeJS.ErrnoException).code ?? '');
    if (why === undefined) throw error;
    fail(name, why);
  }
}

function fail(name: string, why: string): never {
  process.stderr.write(`${name}: cannot start: ${why}\n`);
  process.exit(Exit.Failed);
}

const tooFewFiles: ReadonlyMap<string, string> = new Map([
  ['EMFILE', 'the limit on open files is too low; raise it, for instance with ulimit -n 1024'],
  ['ENFILE', 'the system has too many files open; close some, or raise fs.file-max'],
]);
