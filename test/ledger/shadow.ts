/** A copy of the built tree, in which one file at a time is broken, and tests are run. */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';
import { root } from '../support/documents.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

/** What the tests change: the rest of the tree is linked. */
const copied = ['build', 'dist'];

/** @returns the folder of the copy */
export function newShadow(): string {
  const folder = temporaryFolder();
  const source = fileURLToPath(root);
  for (const name of readdirSync(source)) {
    if (copied.includes(name)) cpSync(join(source, name), join(folder, name), { recursive: true });
    else if (name !== '.git') symlinkSync(join(source, name), join(folder, name));
  }
  return folder;
}

/** Compiles a file of `src/` into the copy, where tests and programs import it. */
export async function compileInto(shadow: string, file: string, text: string): Promise<void> {
  const { code } = await transform(text, { loader: 'ts', format: 'esm', target: 'es2023' });
  const compiled = code.replace(/(\bfrom "|\bimport\("|^import ")(\.[^"]*)\.ts"/gm, '$1$2.js"');
  const name = file.replace(/\.ts$/, '.js');
  writeFileSync(join(shadow, 'build', name), compiled);
  const program = join(shadow, 'dist', name.slice('src/'.length));
  if (existsSync(program)) writeFileSync(program, compiled);
}

/** Milliseconds for a file of tests: many times what it takes, so that only a test that waits for ever takes longer. */
const patience = 60_000;

export interface TestRun {
  /** The names of the tests that passed and that failed, as the test runner shows them. */
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  /** Whether a file took too long: the runner ends it then, and does not name the test. */
  readonly hasHung: boolean;
}

/**
 * Runs the tests of these files whose names contain a marker of one of the rules.
 * @param fileTimeout milliseconds for each file
 */
export function runTests(
  shadow: string,
  files: readonly string[],
  ids: readonly string[],
  fileTimeout = patience,
): Promise<TestRun> {
  const patterns = ids.map(id => `--test-name-pattern=[[ ]${id.replaceAll('.', '\\.')}[\\],]`);
  const scripts = files.map(file => join(shadow, 'build', file.replace(/\.ts$/, '.js')));
  const options = ['--test', '--test-reporter=tap', `--test-timeout=${fileTimeout}`, '--test-concurrency=1'];
  // Within a test, the runner would refuse to run.
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
  const child = spawn(process.execPath, [...options, ...patterns, ...scripts], {
    cwd: shadow,
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: environment,
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', text => {
    output += text;
  });
  return new Promise(resolve => {
    const timer = setTimeout(() => endGroup(child.pid), (files.length + 2) * fileTimeout);
    child.on('close', () => {
      clearTimeout(timer);
      endGroup(child.pid);
      const results = [...output.matchAll(/^ *(not )?ok \d+ - (.*)$/gm)].filter(
        ([line]) => !line.includes(' # SKIP'),
      );
      const named = (hasFailed: boolean) =>
        results
          .filter(([, not]) => (not !== undefined) === hasFailed)
          .map(([, , name = '']) => name.replaceAll('\\', ''));
      const hasHung = /^not ok \d+ - .*\.test\.js\n(?: .*\n)*? +failureType: 'testTimeoutFailure'/m.test(
        output,
      );
      resolve({ passed: named(false), failed: named(true), hasHung });
    });
  });
}

/** Ends what is left of the run, such as servers of a test that did not end: they are all in the group of the run. */
function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is empty.
  }
}
