/**
 * `make examples`: runs the recipes of the manual page `testing` with the real programs. npm installs the test runners for
 * JavaScript, and the packed package. Chromium, pytest, Go and the module golang.org/x/net come from Debian.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../support/documents.ts';
import { findChromium } from '../support/install.ts';
import { exampleCode } from './examples.ts';

interface Recipe {
  readonly name: string;
  /** Its block on the page. */
  readonly mark: string;
  readonly file: string;
  /** Packages of npm. */
  readonly needs: readonly string[];
  readonly others?: Readonly<Record<string, string>>;
  /** Command lines, one after the other. */
  readonly run: readonly (readonly string[])[];
}

const recipes: readonly Recipe[] = [
  {
    name: 'node:test',
    mark: 'js node:test',
    file: 'quiz.test.mjs',
    needs: [],
    run: [[process.execPath, '--test', 'quiz.test.mjs']],
  },
  {
    name: 'Vitest',
    mark: 'js vitest',
    file: 'echo.test.mjs',
    needs: ['vitest'],
    run: [['vitest', 'run']],
  },
  {
    name: 'Jest',
    mark: 'js @jest/globals',
    file: 'echo.test.mjs',
    needs: ['jest', '@jest/globals'],
    others: { 'jest.config.json': '{ "testMatch": ["**/*.test.mjs"], "transform": {} }' },
    run: [['env', 'NODE_OPTIONS=--experimental-vm-modules', 'jest']],
  },
  {
    name: 'Playwright',
    mark: 'js @playwright/test',
    file: 'page.spec.mjs',
    needs: ['@playwright/test'],
    others: {
      'playwright.config.mjs': `export default { use: { launchOptions: {
        executablePath: ${JSON.stringify(findChromium())}, args: ['--no-sandbox'] } } };`,
    },
    run: [['playwright', 'test', '--reporter=line']],
  },
  {
    name: 'pytest',
    mark: 'python pytest',
    file: 'test_echo.py',
    needs: [],
    run: [['/usr/bin/python3', '-m', 'pytest', '-q']],
  },
  {
    name: 'Go',
    mark: 'go golang.org',
    file: 'echo_test.go',
    needs: [],
    // The module comes from Debian: golang-go and golang-golang-x-net-dev.
    run: [['env', 'GO111MODULE=off', 'GOPATH=/usr/share/gocode', 'go', 'test', '-v']],
  },
];

const folder = mkdtempSync(join(tmpdir(), 'recipes-'));

function runIn(cwd: string, [program = '', ...words]: readonly string[], isShown = true): string {
  const PATH = `${join(cwd, 'node_modules/.bin')}${delimiter}${process.env['PATH']}`;
  const stdout = isShown ? 'inherit' : 'pipe';
  const env = { ...process.env, PATH };
  return execFileSync(program, words, { cwd, env, stdio: ['ignore', stdout, 'inherit'], encoding: 'utf8' });
}

function runRecipe({ name, mark, file, needs, others = {}, run }: Recipe, tarball: string): void {
  console.log(`\n${name}`);
  const place = join(folder, name.replace(/\W/g, ''));
  mkdirSync(place);
  const files = { 'package.json': '{ "private": true }', ...others, [file]: exampleCode('testing', mark) };
  for (const [path, text] of Object.entries(files)) writeFileSync(join(place, path), text);
  runIn(place, ['npm', 'install', '--silent', '--no-audit', '--no-fund', tarball, ...needs]);
  for (const words of run) runIn(place, words);
}

let failures = 0;
try {
  const pack = ['npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', folder];
  const tarball = join(folder, runIn(fileURLToPath(root), pack, false).trim().split('\n').at(-1)!);
  const wanted = process.argv.slice(2);
  for (const recipe of recipes) {
    if (wanted.length > 0 && !wanted.includes(recipe.name)) continue;
    try {
      runRecipe(recipe, tarball);
    } catch (error) {
      failures++;
      console.error(`${recipe.name}: ${(error as Error).message}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(failures === 0 ? '\nevery recipe works' : `\n${failures} of the recipes failed`);
process.exitCode = failures === 0 ? 0 : 1;
