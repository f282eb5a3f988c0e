import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readPage, subjects } from '../../src/manual/pages.ts';
import { assertServes } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const folder = temporaryFolder();

/** Does not build: other tests run the build at the same time. */
const make = (...words: string[]) =>
  execFileSync('make', ['-s', '-o', 'build', '-o', 'node_modules', ...words], {
    cwd: root,
    encoding: 'utf8',
  });

/** Installed as a packager does: for /usr, in another folder. */
const staged = join(folder, 'staged');
const usr = join(staged, 'usr');
/** Installed for one user. */
const own = join(folder, 'own');

before(() => {
  make('install', `DESTDIR=${staged}`, 'PREFIX=/usr');
  make('install', `PREFIX=${own}`);
});

const run = (command: string, ...words: string[]) =>
  spawnSync(command, words, { encoding: 'utf8', timeout: 60_000, cwd: folder });

test('make install installs these files and no others', () => {
  const files = readdirSync(staged, { recursive: true, encoding: 'utf8' })
    .filter(name => !statSync(join(staged, name)).isDirectory() && !/dist\/|minimist\//.test(name))
    .toSorted();
  assert.deepEqual(files, [
    'usr/bin/pollywog',
    'usr/bin/pollywog-client',
    'usr/lib/pollywog/LICENSE',
    'usr/lib/pollywog/package.json',
    'usr/lib/systemd/system/pollywog.service',
    'usr/lib/systemd/system/pollywog.socket',
    'usr/share/man/man1/pollywog-client.1',
    'usr/share/man/man1/pollywog.1',
    'usr/share/man/man5/pollywog.json.5',
    ...subjects()
      .map(subject => `usr/share/man/man7/pollywog-${subject}.7`)
      .toSorted(),
  ]);
  assert.deepEqual(readdirSync(join(usr, 'lib/pollywog/node_modules')), ['minimist']);
});

test('the installed programs run, serve the page and print the manual', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of ['pollywog', 'pollywog-client']) {
    const { stdout, status } = run(join(usr, 'bin', name), '--version');
    assert.deepEqual([status, stdout], [0, `${version}\n`]);
  }
  const server = spawn(join(usr, 'bin/pollywog'), ['-p', '0', '--host', '127.0.0.1', '--control', 'none'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const kill = () => server.kill('SIGKILL');
  process.once('exit', kill);
  const exited = once(server, 'exit');
  const [line] = await once(createInterface(server.stdout), 'line');
  const [, port] = /:(\d+) \(pid/.exec(line) ?? [];
  await assertServes(Number(port));
  assert.match(await (await fetch(`http://127.0.0.1:${port}/`)).text(), /<title>/);
  assert.match(run(join(usr, 'bin/pollywog'), 'help', 'limits').stdout, /^LIMITS\n/);
  const client = run(join(usr, 'bin/pollywog-client'), `ws://127.0.0.1:${port}/echo`, '-x', 'hello', '-1');
  assert.deepEqual([client.status, client.stdout], [0, 'hello\n']);
  server.kill('SIGTERM');
  assert.equal((await exited)[0], 0);
  process.off('exit', kill);
});

test('systemd accepts the units', t => {
  if (skipUnlessLinux(t, 'systemd')) return;
  const units = join(own, 'lib/systemd/system');
  for (const unit of ['pollywog.service', 'pollywog.socket']) {
    const { stdout, stderr, status } = run('systemd-analyze', 'verify', '--man=no', join(units, unit));
    assert.deepEqual([status, stdout, stderr], [0, '', ''], unit);
  }
  assert.match(
    readFileSync(join(units, 'pollywog.service'), 'utf8'),
    new RegExp(`ExecStart=${own}/bin/pollywog\n`),
  );
});

test('man shows every installed page without a warning', () => {
  for (const [page, words] of [
    ['man1/pollywog.1', ['--max-message', 'SIGNALS', 'defaultconfig']],
    ['man1/pollywog-client.1', ['--nick', '128+N ended by signal N']],
    ['man5/pollywog.json.5', ['"max-message": "1MB"']],
    ...subjects().map(
      subject =>
        [
          `man7/pollywog-${subject}.7`,
          [readPage(subject).summary.split(' ').at(-1)!.replace(/[`.]/g, '')],
        ] as const,
    ),
  ] as const) {
    const env = { ...process.env, LC_ALL: 'C', MANWIDTH: '100' };
    const path = join(usr, 'share/man', page);
    const { stdout, stderr, status } = spawnSync('man', ['--warnings', '-l', path], {
      encoding: 'utf8',
      env,
    });
    assert.deepEqual([status, stderr], [0, '']);
    // man may break a line between two words.
    for (const word of words) assert.ok(stdout.replace(/\s+/g, ' ').includes(word), `${page}: ${word}`);
  }
});

test('a second make install replaces the first, and make uninstall removes every file', () => {
  make('install', `PREFIX=${own}`);
  assert.equal(run(join(own, 'bin/pollywog'), '--version').status, 0);
  make('uninstall', `PREFIX=${own}`);
  const left = readdirSync(own, { recursive: true, encoding: 'utf8' });
  assert.deepEqual(
    left.filter(name => !statSync(join(own, name)).isDirectory()),
    [],
  );
  assert.ok(!existsSync(join(own, 'lib/pollywog')));
});
