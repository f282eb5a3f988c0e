/**
 * Wrong tokens: how soon each is refused. After a few, an address waits for its refusals, and all addresses together do
 * after some more. Few wait at a time, and the rest is turned away, so that guesses use up neither memory nor connections.
 * The right token is not looked up here: it is accepted at any time, from any address, so nobody can lock its owner out.
 */
import {
  freeGuesses,
  freeGuessesOfAll,
  guessDelay,
  guessMemory,
  maxDelayedGuesses,
  maxDelayedGuessesOfAll,
  maxGuessers,
} from '../protocol/limits.ts';

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
  if (now - all.since >= guessMemory) Object.assign(all, newGuesser(now));
  const guesser = guesserAt(byAddress, address, now);
  guesser.guesses++;
  all.guesses++;
  if (guesser.guesses <= freeGuesses && all.guesses <= freeGuessesOfAll)
    return { delay: 0, isFirstDelayed: false };
  const isDelayed = canDelay(guesser, maxDelayedGuesses, now) && canDelay(all, maxDelayedGuessesOfAll, now);
  if (isDelayed) {
    guesser.delayed++;
    all.delayed++;
  }
  return { delay: isDelayed ? guessDelay : undefined, isFirstDelayed: guesser.guesses === freeGuesses + 1 };
}

/** An address is remembered for a while after its first guess; of too many, the oldest is forgotten. */
function guesserAt(byAddress: Map<string, Guesser>, address: string, now: number): Guesser {
  const found = byAddress.get(address);
  if (found !== undefined && now - found.since < guessMemory) return found;
  byAddress.delete(address);
  for (const [oldest, { since }] of byAddress) {
    if (byAddress.size < maxGuessers && now - since < guessMemory) break;
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
