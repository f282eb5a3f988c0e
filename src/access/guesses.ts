/**
 * The limits on guessing a token. The first few wrong tokens from an address, and in total, are refused at once, and further
 * ones after a delay. The number of delayed refusals is limited; beyond it, guesses get 429 at once, so guessing exhausts
 * neither memory nor connections. The right token is always accepted, so an attacker cannot lock out the owner.
 */
import {
  freeGuesses,
  guessDelay,
  guessExpiry,
  maxDelayedGuesses,
  maxTrackedGuessers,
  totalDelayedGuesses,
  totalFreeGuesses,
} from '../protocol/limits.ts';

/** The wrong tokens from one address, or from all. Times are milliseconds of the server's clock. */
interface Guesser {
  guesses: number;
  /** When the first of these came. */
  since: number;
  /** Refusals delayed since `delayedSince`, each by `guessDelay`. */
  delayed: number;
  delayedSince: number;
}

export interface Guesses {
  readonly all: Guesser;
  /** Sorted by `since`. */
  readonly byAddress: Map<string, Guesser>;
}

export interface Verdict {
  /** Milliseconds until the refusal; undefined: refused with 429. */
  readonly delay: number | undefined;
  /** The first guess of this address that is not refused at once. */
  readonly isFirstDelayed: boolean;
}

export function newGuesses(): Guesses {
  return { all: newGuesser(0), byAddress: new Map() };
}

function newGuesser(since: number): Guesser {
  return { guesses: 0, since, delayed: 0, delayedSince: 0 };
}

/** Counts a wrong token. @param address a key made by `addressKey` */
export function judgeGuess({ all, byAddress }: Guesses, address: string, now: number): Verdict {
  if (now - all.since >= guessExpiry) Object.assign(all, newGuesser(now));
  const guesser = guesserAt(byAddress, address, now);
  guesser.guesses++;
  all.guesses++;
  if (guesser.guesses <= freeGuesses && all.guesses <= totalFreeGuesses)
    return { delay: 0, isFirstDelayed: false };
  startWindow(guesser, now);
  startWindow(all, now);
  const isDelayed = guesser.delayed < maxDelayedGuesses && all.delayed < totalDelayedGuesses;
  if (isDelayed) {
    guesser.delayed++;
    all.delayed++;
  }
  return { delay: isDelayed ? guessDelay : undefined, isFirstDelayed: guesser.guesses === freeGuesses + 1 };
}

/** Finds or makes the record of an address. Records expire, and if there are too many, the oldest goes. */
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

/** Resets the count of delayed refusals once all that it counts have been sent. */
function startWindow(guesser: Guesser, now: number): void {
  if (now - guesser.delayedSince < guessDelay) return;
  guesser.delayed = 0;
  guesser.delayedSince = now;
}
