/** The npm package, as npm builds it for the registry and for `npm install git+URL`: both run `prepare`. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exampleCode } from '../manual/examples.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const folder = temporaryFolder();
const checkout = join(folder, 'checkout');
const installed = join(folder, 'node_modules/pollywog');

/** A checkout as npm clones it: the files in git, and the development dependencies. */
before(() => {
  mkdirSync(checkout);
  for (const name of [
    'src',
    'Makefile',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'README.md',
    'LICENSE',
  ])
    cpSync(join(root, name), join(checkout, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'));
  const words = ['pack', '--offline', '--silent', '--pack-destination', folder];
  const output = execFileSync('npm', words, { cwd: checkout, encoding: 'utf8' });
  const tarball = output.trim().split('\n').at(-1)!;
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, tarball), '-C', installed, '--strip-components=1']);
  symlinkSync(join(root, 'node_modules/minimist'), join(folder, 'node_modules/minimist'));
});

test('the package has the programs, the chat page and the manual', () => {
  for (const name of [
    'server.js',
    'client.js',
    'web/page/index.html',
    'web/library/pollywog.js',
    'man/pollywog.1',
    'man/pollywog.json.5',
    'man/pollywog-limits.7',
    'manual/limits.md',
  ])
    assert.ok(existsSync(join(installed, 'dist', name)), name);
  for (const program of ['server.js', 'client.js']) {
    const { status, stderr } = spawnSync(process.execPath, [join(installed, 'dist', program), '--version']);
    assert.deepEqual([status, stderr.toString()], [0, '']);
  }
  const help = spawnSync(process.execPath, [join(installed, 'dist/server.js'), 'help', 'limits']);
  assert.match(help.stdout.toString(), /^LIMITS\n/);
});

test('the types of the package are those of modules', () => {
  const good = join(folder, 'good.mts');
  writeFileSync(
    good,
    "import type { Handler } from 'pollywog';\nexport const name: keyof Handler = 'message';\n",
  );
  const bad = join(folder, 'bad.mts');
  writeFileSync(
    bad,
    "import type { Handler } from 'pollywog';\nexport const name: keyof Handler = 'nothing';\n",
  );
  const check = (file: string) =>
    spawnSync(
      join(root, 'node_modules/.bin/tsc'),
      ['--noEmit', '--ignoreConfig', '--skipLibCheck', '--module', 'nodenext', file],
      { cwd: folder, encoding: 'utf8' },
    );
  assert.deepEqual([check(good).status, check(good).stdout], [0, '']);
  assert.match(check(bad).stdout, /^bad\.mts\(2,\d+\): error TS2322/);
});

test('the package exports the client library, with its types', () => {
  const good = join(folder, 'library.mts');
  writeFileSync(
    good,
    `import { type Message, subscribe } from 'pollywog/browser';
const seen: Message[] = [];
export const subscription: { close(): void } = subscribe(
  ['orders', 'user-17'],
  { message: message => seen.push(message), gap: channels => channels[0], state: (state, detail) => [state === 'open', detail] },
  { url: 'https://push.example.com', token: async () => 'secret', shared: true, after: 'E-1' },
);
`,
  );
  const bad = join(folder, 'badLibrary.mts');
  writeFileSync(
    bad,
    "import { subscribe } from 'pollywog/browser';\nsubscribe(['orders'], {}, { share: true });\n",
  );
  const words = ['--noEmit', '--ignoreConfig', '--strict', '--lib', 'es2022,dom', '--module', 'nodenext'];
  const check = (file: string) =>
    spawnSync(join(root, 'node_modules/.bin/tsc'), [...words, '--types', '', file], {
      cwd: folder,
      encoding: 'utf8',
    });
  assert.deepEqual([check(good).stdout, check(good).status], ['', 0]);
  assert.match(check(bad).stdout, /^badLibrary\.mts\(2,\d+\): error TS2561/);
  const script = "import { subscribe } from 'pollywog/browser'; console.log(typeof subscribe);";
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: folder,
    encoding: 'utf8',
  });
  assert.equal(run.stdout, 'function\n');
});

test('a package that has installed it runs the tests of the manual, in process', () => {
  writeFileSync(join(folder, 'quiz.test.mjs'), exampleCode('testing', 'js node:test'));
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout, status } = spawnSync(process.execPath, ['--test', '--test-reporter=tap', 'quiz.test.mjs'], {
    ...{ cwd: folder, env, encoding: 'utf8' },
  });
  assert.match(stdout, /^# pass 2$/m);
  assert.equal(status, 0);
});

test('the types of the package know options, commands, events, the client and the protocol', () => {
  mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
  symlinkSync(join(root, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'));
  const check = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    const words = ['--noEmit', '--ignoreConfig', '--strict', '--target', 'es2023', '--types', 'node'];
    const { stdout } = spawnSync(
      join(root, 'node_modules/.bin/tsc'),
      [...words, '--noPropertyAccessFromIndexSignature', '--module', 'nodenext', name],
      { cwd: folder, encoding: 'utf8' },
    );
    return stdout;
  };
  const good = `import { type Handler, listen, type ServerEvent, type TestServer } from 'pollywog';
import { type Client, connect } from 'pollywog/client';
import { type Endpoint, newEndpoint, nextEvent, ProtocolEvent } from 'pollywog/protocol';
const quiz: Handler<{ name: string }, { round: number }> = {
  state: () => ({ round: 0 }),
  message(connection, message, server) {
    connection.data = { name: message.text() };
    server.state.round++;
  },
};
export const server: TestServer = await listen({
  port: 0, handlers: { quiz }, maxMessage: '1MB', noSelf: true, origin: ['same'], timeouts: 'test',
});
export const id: string = (await server.commands.publish('orders', 'x', { event: 'new' })).id;
export const event: ServerEvent = await server.waitFor(one => one.event === 'closed' && one.id === 1);
for (const { frames, send } of server.connections) send(frames[0]?.payload ?? '');
export const client: Client = await connect(server.url + '/quiz', { subprotocol: 'quiz' });
export const answer: string | Buffer | undefined = await client.next();
export const endpoint: Endpoint = newEndpoint('client', 1000);
export const isDone: boolean =
  nextEvent(endpoint, { bytes: Buffer.alloc(0), start: 0, end: 0 }) === ProtocolEvent.NeedMore;
`;
  assert.equal(check('goodTest.mts', good), '');
  const bad = `import { listen } from 'pollywog';
await listen({ maxMesage: '1MB' });
await listen({ daemon: true });
await (await listen()).commands.publsh('orders', 'x');
`;
  assert.deepEqual(
    [...check('badTest.mts', bad).matchAll(/^badTest\.mts\((\d+)/gm)].map(([, line]) => line),
    ['2', '3', '4'],
  );
});

test('prepare does nothing and succeeds without the development dependencies', () => {
  const bare = join(folder, 'bare');
  mkdirSync(bare);
  cpSync(join(root, 'package.json'), join(bare, 'package.json'));
  const { status } = spawnSync('npm', ['run', 'prepare', '--offline', '--silent'], { cwd: bare });
  assert.equal(status, 0);
  assert.equal(existsSync(join(bare, 'dist')), false);
});
