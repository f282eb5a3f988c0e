/** The secret that lets commands in over HTTP. */
import { readFileSync, statSync } from 'node:fs';
import type { Server } from '../core/server.ts';
import { log } from '../log/log.ts';
import { quoted, UsageError } from '../options/error.ts';
import { whyUnreadable } from '../options/file.ts';
import { readText } from '../options/text.ts';
import { longestTokenFile, minTokenLength } from '../protocol/limits.ts';

/**
 * @param path of the file that has it, and nothing else; `none`: there is none
 * @throws UsageError where it cannot be read, or is no good
 */
export function readToken(path: string): string | undefined {
  if (path === 'none') return undefined;
  let text: string;
  try {
    const found = statSync(path);
    if (!found.isFile()) throw new Error('it is no file');
    if (found.size > longestTokenFile) throw new Error('it is too long for a token');
    // Not refused: a secret that a container is given is often like this, and nobody else is there.
    if ((found.mode & 0o004) !== 0) log('warn', 'everyone may read the token', { file: path });
    text = readText('it', readFileSync(path)).trim();
  } catch (error) {
    throw new UsageError(`cannot read the token in ${quoted(path)}: ${whyUnreadable(error)}`);
  }
  // RFC 6750 §2.1: what a bearer token is made of.
  if (!/^[\w.~+/-]+=*$/.test(text) || text.length < minTokenLength) {
    throw new UsageError(
      `the token in ${quoted(path)} must be one word of at least ${minTokenLength} letters, digits or -._~+/; make one with: openssl rand -hex 32`,
    );
  }
  return text;
}

/**
 * Reads the token's file, and again on every reload.
 * @returns the token of now; undefined while there is none
 * @throws UsageError as `readToken`
 */
export function keepToken({ configuration, reloadables }: Server): () => string | undefined {
  let token = readToken(configuration.apiToken);
  reloadables.push({
    async prepare(next) {
      const read = readToken(next.apiToken);
      return () => {
        token = read;
        return [];
      };
    },
  });
  return () => token;
}
