/** Files with tokens and keys. */
import { readFileSync, statSync } from 'node:fs';
import { log } from '../log/log.ts';
import { quoted, UsageError } from '../options/error.ts';
import { whyUnreadable } from '../options/file.ts';

/**
 * @param what is in the file: `token` or `key`
 * @param most bytes
 * @param decode throws an Error with a sentence about the file, as `it`, if it is not valid
 * @throws UsageError
 */
export function readSecretFile<T>(what: string, path: string, most: number, decode: (bytes: Buffer) => T): T {
  try {
    const found = statSync(path);
    if (!found.isFile()) throw new Error('it is not a regular file');
    if (found.size > most) throw new Error(`it is too long for a ${what}`);
    return decode(readFileSync(path));
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    // The usual mistake is the secret itself in place of a path.
    const why = isMissing ? `no such file; name a file that contains the ${what}` : whyUnreadable(error);
    throw new UsageError(`cannot read the ${what} in ${quoted(path)}: ${why}`);
  }
}

/** Not refused: secrets mounted into a container often have this mode, and no other user is there. */
export function warnIfOpen(what: string, path: string): void {
  if ((statSync(path).mode & 0o004) !== 0) log('warn', `${what} readable by everyone`, { file: path });
}
