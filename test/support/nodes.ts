/** `make test-nodes`: runs the compiled tests on several versions of Node, installed from npm's packages of its binaries. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const tests = join(root, 'build/test');

/** Installs the newest Node of this major version, unless one is installed. @returns the path of its binary */
function nodeBinary(major: string): string {
  const name = `node-${process.platform}-${process.arch}`;
  const folder = join(root, '.cache/nodes', major);
  const binary = join(folder, 'node_modules', name, 'bin/node');
  if (!existsSync(binary)) {
    console.log(`installing Node ${major} into ${folder}`);
    mkdirSync(folder, { recursive: true });
    // Without a package.json here, npm would install into the project.
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
    const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
    execFileSync('npm', ['install', ...quiet, `${name}@${major}`], { cwd: folder, stdio: 'inherit' });
  }
  return binary;
}

/** The test files in these folders of test/, or all of them. */
function testFiles(folders: readonly string[]): string[] {
  const names = readdirSync(tests, { recursive: true, encoding: 'utf8' });
  const isWanted = (name: string) =>
    folders.length === 0 || folders.some(folder => name === folder || name.startsWith(`${folder}/`));
  const files = names.filter(name => name.endsWith('.test.js') && isWanted(name));
  if (files.length === 0) throw new Error(`there are no tests in ${folders.join(', ')}`);
  return files.sort().map(name => join(tests, name));
}

/** @returns whether all tests passed */
function testOn(binary: string, files: readonly string[]): boolean {
  const options = ['--test', '--test-timeout=300000', '--test-concurrency=3', '--test-reporter=spec'];
  const path = `${dirname(binary)}${delimiter}${process.env['PATH'] ?? ''}`;
  const { status } = spawnSync(binary, [...options, ...files], {
    stdio: 'inherit',
    env: { ...process.env, PATH: path },
  });
  return status === 0;
}

const { values, positionals } = parseArgs({
  options: { nodes: { type: 'string', default: '20 22 24 26' } },
  allowPositionals: true,
});
const files = testFiles(positionals);
const results = values.nodes.split(' ').map(major => {
  const binary = nodeBinary(major);
  const version = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();
  console.log(`\nNode ${version}: ${files.length} files of tests`);
  return { version, hasPassed: testOn(binary, files) };
});
for (const { version, hasPassed } of results)
  console.log(`Node ${version}: ${hasPassed ? 'all tests passed' : 'tests failed'}`);
process.exitCode = results.every(({ hasPassed }) => hasPassed) ? 0 : 1;
