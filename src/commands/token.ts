/** The secret that lets commands in over HTTP. */
import { readFileSync, statSync } from 'node:fs';
import type { Server } from '../core/server.ts';
import { log } from '../log/log.ts';
import { quoted, UsageError } from '../options/error.ts';
import { whyUnreadable } from '../options/file.ts';
import { readText } from '../options/text.ts';
import {
  freeGuesses,
  guessDelay,
  guessExpiry,
  maxDelayedGuesses,
  maxTokenFile,
  maxTrackedGuessers,
  minTokenLength,
  totalDelayedGuesses,
  totalFreeGuesses,
} from '../protocol/limits.ts';

/**
 * @param path of the file that has it, and nothing else; `none`: there is none
 * @throws UsageError where it cannot be read, or is no good
 */
export function readToken(path: string): string | undefined {
  if (path === 'none') return undefined;
  let text: string;
  try {
    const found = statSync(path);
    if (!found.isFile()) throw new Error('it is not a regular file');
    if (found.size > maxTokenFile) throw new Error('it is too long for a token');
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

/**
 * Wrong tokens: how soon each is refused. After a few, an address waits for its refusals, and all addresses together do
 * after some more. Few wait at a time, and the rest is turned away, so that guesses use up neither memory nor connections.
 * The right token is not looked up here: it is accepted at any time, from any address, so nobody can lock its owner out.
 */

/** What one address has tried, or all of them. Times are milliseconds of the server's clock. */
interface Guesser {
  guesses: number;
  /** Of the first of these. */
  since: number;
  /** Refusals that were put off since `delayedSince`: none of them is put off for longer than `guessDelay`. */
  delayed: number;
  delayedSince: number;
}

export interface Guesses {
  readonly all: Guesser;
  /** In the order of `since`. */
  readonly byAddress: Map<string, Guesser>;
}

export interface Verdict {
  /** Milliseconds until the refusal; undefined: the guess is turned away as one too many. */
  readonly delay: number | undefined;
  /** This is the first of the address that is not refused at once. */
  readonly isFirstDelayed: boolean;
}

export function newGuesses(): Guesses {
  return { all: newGuesser(0), byAddress: new Map() };
}

function newGuesser(since: number): Guesser {
  return { guesses: 0, since, delayed: 0, delayedSince: 0 };
}

/** @param address as `addressKey` has it */
export function judgeGuess({ all, byAddress }: Guesses, address: string, now: number): Verdict {
  if (now - all.since >= guessExpiry) Object.assign(all, newGuesser(now));
  const guesser = guesserAt(byAddress, address, now);
  guesser.guesses++;
  all.guesses++;
  if (guesser.guesses <= freeGuesses && all.guesses <= totalFreeGuesses)
    return { delay: 0, isFirstDelayed: false };
  const isDelayed = canDelay(guesser, maxDelayedGuesses, now) && canDelay(all, totalDelayedGuesses, now);
  if (isDelayed) {
    guesser.delayed++;
    all.delayed++;
  }
  return { delay: isDelayed ? guessDelay : undefined, isFirstDelayed: guesser.guesses === freeGuesses + 1 };
}

/** An address is remembered for a while after its first guess; of too many, the oldest is forgotten. */
function guesserAt(byAddress: Map<string, Guesser>, address: string, now: number): Guesser {
  const found = byAddress.get(address);
  if (found !== undefined && now - found.since < guessExpiry) return found;
  byAddress.delete(address);
  for (const [oldest, { since }] of byAddress) {
    if (byAddress.size < maxTrackedGuessers && now - since < guessExpiry) break;
    byAddress.delete(oldest);
  }
  const guesser = newGuesser(now);
  byAddress.set(address, guesser);
  return guesser;
}

function canDelay(guesser: Guesser, most: number, now: number): boolean {
  if (now - guesser.delayedSince >= guessDelay) {
    guesser.delayed = 0;
    guesser.delayedSince = now;
  }
  return guesser.delayed < most;
}
