/** The same bytes, cut anywhere, give the same events. Runs every session of the corpus. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertEvents, readCorpus, type Session } from '../support/corpus.ts';
import { eventsOf, everyByte, places } from '../support/endpointRun.ts';
import { newRandom } from '../support/random.ts';

/** Every place in a short session; in a long one those around the ends of frames, and some others. */
function singleCuts({ input, frameEnds }: Session): number[] {
  if (input.length <= 2500) return everyByte(input);
  const random = newRandom(input.length);
  const near = [0, ...frameEnds].flatMap(end => Array.from({ length: 40 }, (_, i) => end - 20 + i));
  const others = Array.from({ length: 40 }, () => random.below(input.length));
  return [...new Set([...near, ...others])].filter(cut => cut > 0 && cut < input.length);
}

function randomCuts(input: Buffer, seed: number): number[] {
  const random = newRandom(seed);
  const count = 1 + random.below(12);
  return Array.from({ length: count }, () => random.below(input.length + 1)).sort((a, b) => a - b);
}

const corpus = readCorpus();

test('the corpus has sessions in every group', () => {
  const names = corpus.map(({ name }) => name);
  for (const name of ['framing', 'pings', 'reservedBits', 'fragmentation', 'utf8', 'closing', 'sizes']) {
    assert.ok(names.includes(name), name);
  }
  assert.ok(names.includes('compression'));
});

for (const { name: group, sessions } of corpus) {
  describe(`sessions of the group ${group}`, () => {
    for (const session of sessions) {
      test(`${session.name}: the events are the same, however the bytes are cut`, () => {
        const { setup, input, expected } = session;
        const whole = eventsOf(setup, input, [], 'elsewhere');
        if (expected !== undefined) assertEvents(whole, expected);
        for (const place of places) {
          const same = (cuts: readonly number[], how: string, stops = false) =>
            assert.deepEqual(eventsOf(setup, input, cuts, place, stops), whole, `${how}, in ${place}`);
          same([], 'whole');
          same([], 'stopped at every message', true);
          same(everyByte(input), 'byte by byte');
          same(everyByte(input), 'byte by byte, stopped at every message', true);
          for (const cut of singleCuts(session)) same([cut], `cut at ${cut}`);
          for (let seed = 1; seed <= 30; seed++) same(randomCuts(input, seed), `cut by seed ${seed}`);
        }
      });
    }
  });
}
