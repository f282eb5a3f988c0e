/** The command line of a test that kills a server many times: `node FILE.js [--times 100] [--seed N]`. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/**
 * Runs the test if its file is the program that Node was started with; nothing happens if another file imports it.
 * @param url of the file
 * @param run resolves with a sentence without a full stop; rejects if the test fails, which the exit code then shows
 */
export async function runAsProgram(
  url: string,
  run: (times: number, seed: number) => Promise<string>,
): Promise<void> {
  const program = process.argv[1];
  if (program === undefined || resolve(program) !== new URL(url).pathname) return;
  try {
    const { times, seed } = readArguments();
    process.stdout.write(`seed ${seed}\n`);
    process.stdout.write(`killed ${times} times: ${await run(times, seed)}\n`);
  } catch (error) {
    process.stderr.write(`killNine: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}

function readArguments(): { times: number; seed: number } {
  const { values } = parseArgs({
    options: {
      times: { type: 'string', default: '100' },
      seed: { type: 'string', default: `${Date.now() | 0}` },
    },
  });
  const [times, seed] = [Number(values.times), Number(values.seed)];
  if (!Number.isInteger(times) || times < 1 || !Number.isInteger(seed))
    throw new Error('--times takes a whole number from 1 up, --seed a whole number');
  return { times, seed };
}
