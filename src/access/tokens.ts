/** The bearer tokens of requests over HTTP, and what each allows. */
import { timingSafeEqual } from 'node:crypto';
import { addressKey } from '../core/places.ts';
import { log } from '../log/log.ts';
import type { Configuration } from '../options/configuration.ts';
import { quoted, UsageError } from '../options/error.ts';
import { readText } from '../options/text.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { guessDelay, maxTokenFile, minTokenLength } from '../protocol/limits.ts';
import type { Connection, Server } from '../records/records.ts';
import { type Guesses, judgeGuess, newGuesses } from './guesses.ts';
import { readSecretFile, warnIfOpen } from './secretFile.ts';

/** The current tokens; a reload replaces them. */
export interface Tokens {
  /** Allows all commands, and publishing. Undefined: no token does. */
  api: string | undefined;
  /** Allows publishing, and nothing else. */
  publish: string | undefined;
  /** Allows the read-only commands, and the metrics. */
  read: string | undefined;
  /** Allows the metrics, and nothing else. */
  metrics: string | undefined;
  /** Wrong tokens of all kinds. */
  readonly guesses: Guesses;
}

/** The owner of a publisher's idempotency keys. The operator has the API token, or sends commands in another way. */
export type TokenHolder = 'operator' | 'publisher';

/**
 * Reads the tokens now and at every reload.
 * @throws UsageError if a file cannot be read, a token is not valid, or two are the same
 */
export function openTokens({ configuration, reloadables }: Server): Tokens {
  const tokens: Tokens = { ...readTokens(configuration), guesses: newGuesses() };
  reloadables.push({
    async prepare(next) {
      const read = readTokens(next);
      return () => {
        const changes = changesOf(tokens, read);
        Object.assign(tokens, read);
        return changes;
      };
    },
  });
  return tokens;
}

/** Sentences without the tokens. A token that is new or gone belongs to an option that has changed. */
function changesOf(before: Omit<Tokens, 'guesses'>, after: Omit<Tokens, 'guesses'>): string[] {
  const names = ['api', 'publish', 'read', 'metrics'] as const;
  return names
    .filter(name => before[name] !== undefined && after[name] !== undefined && before[name] !== after[name])
    .map(name => `${name} token replaced`);
}

export function readTokens(configuration: Configuration): Omit<Tokens, 'guesses'> {
  const read = {
    api: readToken(configuration.apiToken),
    publish: readToken(configuration.publishToken),
    read: readToken(configuration.readToken),
    metrics: readToken(configuration.metricsToken),
  };
  // The tokens that allow more are first.
  const holders = new Map<string, string>();
  for (const [name, token] of Object.entries(read)) {
    if (token === undefined) continue;
    const other = holders.get(token);
    if (other !== undefined) {
      const more = other === 'api' ? 'every command' : `what --${other}-token allows`;
      throw new UsageError(
        `--${name}-token and --${other}-token have the same token, which would allow ${more}; make another one`,
      );
    }
    holders.set(token, name);
  }
  return read;
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

export function isReadToken({ read }: Tokens, given: string): boolean {
  return isEqual(given, read);
}

export function isMetricsToken({ metrics }: Tokens, given: string): boolean {
  return isEqual(given, metrics);
}

/** The publisher with this token; undefined: the token does not allow publishing. */
export function publisherOf(tokens: Tokens, given: string): TokenHolder | undefined {
  if (isApiToken(tokens, given)) return 'operator';
  return isEqual(given, tokens.publish) ? 'publisher' : undefined;
}

/** Takes the same time for all tokens of one length. The length is no secret, and digests would cost more than the rest of a publish. */
export function isEqual(given: string, token: string | undefined): boolean {
  if (token === undefined) return false;
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Counts a wrong token. @returns milliseconds until the refusal @throws ProtocolError 429 */
export function judgeToken({ guesses }: Tokens, { address, server }: Connection): number {
  const key = addressKey(address) ?? address;
  const { delay, isFirstDelayed } = judgeGuess(guesses, key, server.now);
  if (isFirstDelayed) log('warn', 'wrong tokens', { address: key, answeredAfter: guessDelay });
  if (delay === undefined) throw tooManyGuesses();
  return delay;
}

/** The refusal of a wrong token. */
export const wrongToken = (remedy: string) => unauthorized(`wrong token; ${remedy}`, 'invalid_token');

/** @param code RFC 6750 §3.1: left out if the request had no token */
export function unauthorized(reason: string, code?: 'invalid_token'): ProtocolError {
  const challenge = `Bearer realm="pollywog"${code === undefined ? '' : `, error="${code}"`}`;
  return new ProtocolError(401, reason, { 'WWW-Authenticate': challenge });
}

export function tooManyGuesses(): ProtocolError {
  const reason = 'too many wrong tokens; wait a second';
  return new ProtocolError(429, reason, { 'Retry-After': String(guessDelay / 1000) });
}
