/**
 * The fuzzer: random sessions and handshakes, valid and mutated.
 *
 *     node build/test/fuzz/fuzz.js [--seconds N] [--seed S]
 *
 * Round n uses the seed S + n. A session that reveals a fault is written to test/corpus/found/, from where every run of
 * the tests repeats it, and the exit code is 1.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import minimist from 'minimist';
import { corpusFolder } from '../support/corpus.ts';
import { Finding, fuzzRound } from './round.ts';

const { seconds = 60, seed = Date.now() % 2 ** 31 } = minimist(process.argv.slice(2)) as {
  seconds?: number;
  seed?: number;
};

process.stdout.write(`fuzz: seed ${seed}, for ${seconds} s\n`);
const end = performance.now() + seconds * 1000;
let rounds = 0;
try {
  for (; performance.now() < end; rounds++) await fuzzRound(seed + rounds);
  process.stdout.write(`fuzz: ${rounds} rounds, nothing found\n`);
} catch (error) {
  process.stdout.write(`fuzz: round ${rounds} found something: --seed ${seed + rounds}\n`);
  process.stdout.write(`${error instanceof Finding ? (error.cause as Error).stack : String(error)}\n`);
  if (error instanceof Finding && error.session !== undefined) {
    const folder = new URL('found/', corpusFolder);
    mkdirSync(folder, { recursive: true });
    const file = new URL(`seed-${seed + rounds}.txt`, folder);
    writeFileSync(file, error.session);
    process.stdout.write(`fuzz: written to ${fileURLToPath(file)}\n`);
  }
  process.exitCode = 1;
}
