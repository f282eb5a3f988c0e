import { test } from 'node:test';
import { fuzzRound } from './round.ts';

const rounds = 200;

test(`${rounds} rounds of the fuzzer with fixed seeds find nothing`, async () => {
  for (let seed = 1; seed <= rounds; seed++) await fuzzRound(seed);
});
