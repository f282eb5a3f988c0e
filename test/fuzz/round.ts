/** One round of the fuzzer, which depends only on its seed. */
import assert from 'node:assert/strict';
import { assertEvents, writeSession } from '../support/corpus.ts';
import { type EndpointSetup, eventsOf, everyByte, places } from '../support/endpointRun.ts';
import { newRandom, type Random } from '../support/random.ts';
import { fuzzHandshake } from './heads.ts';
import { makeSession, mutate } from './sessions.ts';

/** A fault that a round found. `session` is the text of a corpus file, if a session revealed the fault. */
export class Finding extends Error {
  readonly session: string | undefined;

  constructor(seed: number, session: string | undefined, cause: unknown) {
    super(`seed ${seed}: ${(cause as Error).message}`, { cause });
    this.session = session;
  }
}

const mutationsPerRound = 6;

/** @throws Finding */
export async function fuzzRound(seed: number): Promise<void> {
  const random = newRandom(seed);
  const made = await makeSession(random);
  find(seed, writeSession(`seed ${seed}`, made.setup, made.input, made.expected), () =>
    assertEvents(receiveAnyhow(random, made.setup, made.input), made.expected),
  );
  const other = await makeSession(random);
  for (let left = mutationsPerRound; left > 0; left--) {
    const input = mutate(random, made.input, other.input);
    find(seed, writeSession(`seed ${seed}`, made.setup, input), () =>
      receiveAnyhow(random, made.setup, input),
    );
  }
  find(seed, undefined, () => fuzzHandshake(random));
}

function find(seed: number, session: string | undefined, run: () => void): void {
  try {
    run();
  } catch (error) {
    throw new Finding(seed, session, error);
  }
}

/** @returns the events, after checking that they are the same wherever the bytes are cut and stored */
function receiveAnyhow(random: Random, setup: EndpointSetup, input: Buffer): string[] {
  const whole = eventsOf(setup, input, [], 'elsewhere');
  for (const place of places) {
    const count = 1 + random.below(8);
    const cuts = Array.from({ length: count }, () => random.below(input.length + 1)).sort((a, b) => a - b);
    const same = (at: readonly number[], stops: boolean) =>
      assert.deepEqual(eventsOf(setup, input, at, place, stops), whole, `cut ${at.length} times in ${place}`);
    same(cuts, false);
    same(cuts, true);
    if (input.length <= 3000) same(everyByte(input), random.oneIn(2));
  }
  return whole;
}
