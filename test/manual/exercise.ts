/**
 * `make exercise N`: checks a learner's file, `exercises/N/NAME.ts`, and writes the starter first if it is missing. Git ignores
 * the folder `exercises`; to begin again, remove the file.
 */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { root } from '../support/documents.ts';
import { exercises } from './exercises/all.ts';
import { checkFile, typeFaults, writeStarter } from './exercises/run.ts';

const number = Number(process.argv[2]);
const exercise = exercises.get(number);
if (exercise === undefined) {
  console.error(`usage: make exercise N, where N is one of ${[...exercises.keys()].join(', ')}`);
  process.exit(2);
}
const checkout = fileURLToPath(root);
// The tests of this program have a folder of their own.
const folder = join(process.env['EXERCISES'] || join(checkout, 'exercises'), String(number));
const path = join(folder, exercise.file);
const shown = relative(process.cwd(), path);
if (!existsSync(path)) {
  writeStarter(number, exercise, folder);
  console.log(`${shown} is new. Edit it, and run this again.`);
}

/** The number of lines that are shown of what the learner's code prints. */
const mostShown = 40;

/** Ends the process, and the servers that it has started, if the learner's code blocks it for five seconds. */
const watchdog = new Worker(
  `const { parentPort, workerData } = require('node:worker_threads');
  let last = Date.now();
  parentPort.on('message', () => { last = Date.now(); });
  setInterval(() => {
    if (Date.now() - last < 5000) return;
    require('node:fs').writeSync(2, workerData);
    require('node:child_process').spawnSync('pkill', ['-KILL', '-P', String(process.pid)]);
    process.kill(process.pid, 'SIGKILL');
  }, 500);`,
  {
    eval: true,
    workerData: `${shown}: your code has run for 5 seconds without a break. Does a loop never end?\n`,
  },
);
const heartbeat = setInterval(() => watchdog.postMessage('alive'), 500);

try {
  const output: string[] = [];
  const outcomes = await checkFile(exercise, path, line => output.push(line));
  clearInterval(heartbeat);
  await watchdog.terminate();
  process.stdout.write(typeFaults(path));
  for (const { claim, fault } of outcomes) {
    console.log(`${fault === undefined ? '  ok  ' : '  no  '}${claim}`);
    if (fault !== undefined) console.log(fault.trimEnd().replace(/^/gm, '      '));
  }
  if (output.length > 0) {
    console.log('Your code printed, or the server logged an error:');
    for (const line of output.slice(0, mostShown)) console.log(`      ${line}`);
    if (output.length > mostShown) console.log(`      … and ${output.length - mostShown} more lines`);
  }
  const failed = outcomes.filter(({ fault }) => fault !== undefined).length;
  console.log(
    failed === 0
      ? `Exercise ${number} is done.`
      : `${failed} of ${outcomes.length} are still "no". Edit ${shown}, and run this again.`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
  clearInterval(heartbeat);
  await watchdog.terminate();
}
