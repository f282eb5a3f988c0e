/** Runs the tests of the example checkers/, which import the package as an author of modules does, and checks its types. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { manualPage, root } from '../support/documents.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const home = fileURLToPath(root);
const example = join(home, 'test/examples/checkers');

test('the tests of the example pass, by the command in the manual', { timeout: 120_000 }, () => {
  const [, command = ''] = /`(node --test .*?)`/.exec(manualPage('modules')) ?? [];
  assert.match(command, /examples\/checkers/);
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
  const env = { ...environment, NODE_OPTIONS: '--test-reporter=tap' };
  const { stdout } = spawnSync('sh', ['-c', command], { cwd: home, env, encoding: 'utf8', timeout: 100_000 });
  const failed = stdout.split(/(?=^ *not ok )/m).slice(1);
  assert.match(stdout, /^# fail 0$/m, failed.join(''));
  assert.ok(Number(/^# pass (\d+)$/m.exec(stdout)?.[1]) > 30, stdout);
});

test('the types of the example agree with those of the package', { timeout: 120_000 }, () => {
  const folder = temporaryFolder();
  symlinkSync(join(home, 'node_modules'), join(folder, 'node_modules'));
  const compilerOptions = {
    ...{ target: 'es2022', module: 'nodenext', lib: ['es2023', 'dom', 'dom.iterable'], types: ['node'] },
    ...{ strict: true, noEmit: true, checkJs: true, allowJs: true, skipLibCheck: true, noUnusedLocals: true },
    ...{ exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, verbatimModuleSyntax: true },
  };
  const configuration = join(folder, 'tsconfig.json');
  writeFileSync(configuration, JSON.stringify({ compilerOptions, include: [`${example}/**/*.mjs`] }));
  const compiler = join(home, 'node_modules/.bin/tsc');
  const { stdout, status } = spawnSync(compiler, ['-p', configuration], { encoding: 'utf8' });
  assert.deepEqual([stdout, status], ['', 0]);
});
