/** A copy of the built tree, which runs tests with one broken file at a time. */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';
import { root } from '../support/documents.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

/** The folders that a broken file changes; the rest of the tree is linked. */
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

/** Milliseconds for a test file: many times more than it needs, so only a test that hangs takes longer. */
const defaultFileTimeout = 60_000;

export interface TestRun {
  /** The names of the tests that passed and that failed, as the test runner shows them. */
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  /** Whether a file exceeded its timeout: the runner kills it, and does not name the test. */
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
  fileTimeout = defaultFileTimeout,
): Promise<TestRun> {
  const patterns = ids.map(id => `--test-name-pattern=[[ ]${id.replaceAll('.', '\\.')}[\\],]`);
  const scripts = files.map(file => join(shadow, 'build', file.replace(/\.ts$/, '.js')));
  const options = ['--test', '--test-reporter=tap', `--test-timeout=${fileTimeout}`, '--test-concurrency=1'];
  // With this variable, the runner refuses to run inside a test.
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

/** Kills the process group of the run, with any servers that its tests left behind. */
function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is empty.
  }
}
