/** The exercises of the course: each is red with its starter, and green with its solution. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chapters } from '../support/documents.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { exercises } from './exercises/all.ts';
import { checkFile, fileFor } from './exercises/run.ts';

// Several exercises wait for a deadline of the server.
describe('the exercises', { concurrency: 3 }, () => {
  for (const [number, exercise] of exercises) {
    const outcomesOf = (part: 'starter' | 'solution', output: string[] = []) => {
      const folder = temporaryFolder();
      const path = join(folder, exercise.file);
      writeFileSync(path, fileFor(number, exercise, part, folder));
      return checkFile(exercise, path, line => output.push(line));
    };

    test(`exercise ${number}: the starter fails, and each failure says in a sentence what is missing`, async () => {
      const faults = (await outcomesOf('starter')).flatMap(({ fault }) => fault ?? []);
      assert.ok(faults.length > 0);
      for (const fault of faults) {
        assert.match(fault, /^[^\n]{20,}/);
        assert.doesNotMatch(fault, /TypeError|is not a function|nothing happened|^ +at /m);
      }
    });

    test(`exercise ${number}: the solution passes every check`, async () => {
      const output: string[] = [];
      for (const { claim, fault } of await outcomesOf('solution', output))
        assert.equal(fault, undefined, claim);
      assert.deepEqual(output, [], 'the solution prints nothing, and causes no error');
    });

    test(`exercise ${number}: the chapter names the file and the command`, () => {
      const text = chapters.get(`tour-${number}`)!.text;
      assert.ok(text.includes(`\`\`\`sh\nmake exercise ${number}\n\`\`\``));
      assert.ok(text.includes(`\`exercises/${number}/${exercise.file}\``));
    });
  }
});

test('make exercise writes the starter once, names wrong types, loops and lines, and exits with 1 until the exercise is done', () => {
  const folder = temporaryFolder();
  const own = join(folder, '1');
  const solution = fileFor(1, exercises.get(1)!, 'solution', own);
  const script = fileURLToPath(new URL('exercise.js', import.meta.url));
  const run = (text?: string) => {
    if (text !== undefined) writeFileSync(join(own, 'table.ts'), text);
    const env = { ...process.env, EXERCISES: folder };
    return spawnSync(process.execPath, [script, '1'], { encoding: 'utf8', env });
  };
  const first = run();
  assert.match(first.stdout, /1\/table\.ts is new\. Edit it.*\n {2}no {2}/s);
  assert.equal(first.status, 1);
  const second = run(`${solution}\nexport const wrong: number = 'text';\n`);
  assert.match(second.stdout, /1\/table\.ts\(\d+,\d+\): error TS2322: .*\nExercise 1 is done\.\n$/s);
  assert.equal(second.status, 0);
  const third = run('export const = 1;\n');
  assert.match(third.stderr, /table\.ts:1:\d+: ERROR/);
  assert.equal(third.status, 1);
  const loops = solution.replace('table.size++;', 'for (;;);');
  assert.match(
    run(loops).stderr,
    /1\/table\.ts: your code has run for 5 seconds .* Does a loop never end\?\n/,
  );
  const throws = run(solution.replace('table.size++;', "throw new Error('full');"));
  assert.match(throws.stdout, /^ {6}full \(table\.ts, line \d+\)$/m);
});

test('make exercise shows what the file prints, and the line of an error in a module or in the server', async () => {
  const outputOf = async (number: number, find: string, replace: string) => {
    const exercise = exercises.get(number)!;
    const folder = temporaryFolder();
    const path = join(folder, exercise.file);
    const solution = fileFor(number, exercise, 'solution', folder);
    assert.ok(solution.includes(find));
    const changed = solution.replace(find, replace);
    writeFileSync(path, changed);
    const output: string[] = [];
    await checkFile(exercise, path, line => output.push(line));
    return { output, line: changed.slice(0, changed.indexOf('wrong(')).split('\n').length };
  };
  const inModule = await outputOf(
    7,
    'const bytes =',
    'console.log("here", 7); message.wrong();\nconst bytes =',
  );
  assert.equal(inModule.output[0], 'here 7');
  const error = `TypeError: message.wrong is not a function (sum.ts, line ${inModule.line})`;
  assert.ok(inModule.output.includes(error), inModule.output.join('\n'));
  const inServer = await outputOf(8, 'clearQueue(queue);', 'queue.wrong();');
  assert.deepEqual(inServer.output, ['the server ended: queue.wrong is not a function']);
});
