/** The bearer tokens of requests over HTTP, and what each allows. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Configuration } from '../options/configuration.ts';
import { quoted, UsageError } from '../options/error.ts';
import { readText } from '../options/text.ts';
import { maxTokenFile, minTokenLength } from '../protocol/limits.ts';
import type { Server } from '../records/records.ts';
import { type Guesses, newGuesses } from './guesses.ts';
import { readSecretFile, warnIfOpen } from './secretFile.ts';

/** The current tokens; a reload replaces them. */
export interface Tokens {
  /** Allows all commands, and publishing. Undefined: no token does. */
  api: string | undefined;
  /** Allows publishing, and nothing else. */
  publish: string | undefined;
  /** Wrong tokens, whatever they were for. */
  readonly guesses: Guesses;
}

/** Whose idempotency keys a publisher's are. The operator has the API token, or sends commands in another way. */
export type TokenHolder = 'operator' | 'publisher';

/**
 * Reads the tokens now and at every reload.
 * @throws UsageError if a file cannot be read, a token is not valid, or both are the same
 */
export function openTokens({ configuration, reloadables }: Server): Tokens {
  const tokens: Tokens = { ...readTokens(configuration), guesses: newGuesses() };
  reloadables.push({
    async prepare(next) {
      const read = readTokens(next);
      return () => {
        Object.assign(tokens, read);
        return [];
      };
    },
  });
  return tokens;
}

function readTokens({ apiToken, publishToken }: Configuration): Pick<Tokens, 'api' | 'publish'> {
  const api = readToken(apiToken);
  const publish = readToken(publishToken);
  if (publish !== undefined && publish === api) {
    throw new UsageError(
      '--publish-token and --api-token have the same token, which would allow every command; make another one',
    );
  }
  return { api, publish };
}

/**
 * @param path of a file that contains only the token; `none`: there is no token
 * @throws UsageError if the file cannot be read or the token is not valid
 */
export function readToken(path: string): string | undefined {
  if (path === 'none') return undefined;
  const text = readSecretFile('token', path, maxTokenFile, bytes => readText('it', bytes)).trim();
  warnIfOpen('token', path);
  // RFC 6750 §2.1
  if (!/^[\w.~+/-]+=*$/.test(text) || text.length < minTokenLength) {
    throw new UsageError(
      `the token in ${quoted(path)} must be one word of at least ${minTokenLength} letters, digits or -._~+/; make one with: openssl rand -hex 32`,
    );
  }
  return text;
}

export function isApiToken({ api }: Tokens, given: string): boolean {
  return isEqual(given, api);
}

/** Who may publish with this token; undefined: nobody. */
export function publisherOf(tokens: Tokens, given: string): TokenHolder | undefined {
  if (isApiToken(tokens, given)) return 'operator';
  return isEqual(given, tokens.publish) ? 'publisher' : undefined;
}

/** Constant time, whatever the lengths and wherever the first difference. */
function isEqual(given: string, token: string | undefined): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return token !== undefined && timingSafeEqual(digest(given), digest(token));
}
