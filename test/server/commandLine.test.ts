import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertServes } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { runToEnd, serverScript, startServerFor, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const usageErrors: [string[], RegExp][] = [
  [['--prot', '1'], /^pollywog: unknown option --prot; did you mean --port\?\n$/],
  [['--max-conections=3'], /^pollywog: unknown option --max-conections; did you mean --max-connections\?\n$/],
  [['--quite-different'], /^pollywog: unknown option --quite-different; see --help\n$/],
  [['-p', '70000'], /^pollywog: --port must be a number from 0 to 65535, not "70000"\n$/],
  [['-p'], /^pollywog: --port needs a value: a number from 0 to 65535\n$/],
  [['--ping-interval', 'soon'], /^pollywog: --ping-interval must be a time .*, not "soon"\n$/],
  [
    ['stray'],
    /^pollywog: unknown command "stray"; pollywog help lists them all, and pollywog without a command starts a server\n$/,
  ],
  [
    ['--allow', '/quiz:', 'connect=user'],
    /^pollywog: unexpected argument "connect=user"; put a value that contains spaces into quotes, or see --help\n$/,
  ],
  [
    ['publish', 'pond', '- milk'],
    /^pollywog: unknown option "- milk"; put -- before a text that begins with a hyphen\n$/,
  ],
  [['explian', '81'], /^pollywog: unknown command "explian"; did you mean explain\?\n$/],
  [['brodcast', 'x'], /^pollywog: unknown command "brodcast"; did you mean broadcast\?\n$/],
  [['--default-handler', 'chess'], /^pollywog: --default-handler must be .*, not "chess"\n$/],
];
for (const [words, sentence] of usageErrors) {
  test(`pollywog ${words.join(' ')} exits with 2 and prints one sentence`, () => {
    const { status, stdout, stderr } = runToEnd(...words);
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, sentence);
  });
}

test('a command whose output does not fit on the disk exits with 1 and says so', async t => {
  if (skipUnlessLinux(t, '/dev/full')) return;
  const folder = temporaryFolder();
  const control = join(folder, 'control.sock');
  await startServerWith(['-p', '0', '--control', control, '--log-format', 'json'], {
    test: t,
  });
  const full = openSync('/dev/full', 'w');
  t.after(() => closeSync(full));
  for (const words of [['defaultconfig'], ['help'], ['--help'], ['--control', control, 'get']]) {
    const { status, stderr } = spawnSync(process.execPath, [serverScript, ...words], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.deepEqual([status, stderr], [1, 'pollywog: cannot write to stdout: the disk is full\n']);
  }
});

test('--version prints the version of package.json, and --help lists the options', () => {
  const about = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  assert.deepEqual(
    [runToEnd('--version'), runToEnd('-v', '--port', '1')].map(({ status, stdout, stderr }) => [
      status,
      stdout,
      stderr,
    ]),
    [
      [0, `${about.version}\n`, ''],
      [0, `${about.version}\n`, ''],
    ],
  );
  const help = runToEnd('--help');
  assert.equal(help.status, 0);
  for (const option of ['--port', '--listen', '--drain-timeout']) assert.ok(help.stdout.includes(option));
});

test('both programs refuse a Node that is older than package.json allows, and name its version', () => {
  const { engines } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  assert.equal(engines.node, '>=20');
  const older = join(temporaryFolder(), 'older.cjs');
  const versions = "{ value: { ...process.versions, node: '18.20.8' } }";
  writeFileSync(older, `Object.defineProperty(process, 'versions', ${versions});\n`);
  for (const [name, script] of [
    ['pollywog', serverScript],
    ['pollywog-client', serverScript.replace('server.js', 'client.js')],
  ] as const) {
    const words = ['--require', older, script, '--version'];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
    assert.deepEqual([status, stdout], [1, '']);
    assert.equal(stderr, `${name}: cannot start: it needs Node 20 or newer, and this is Node 18.20.8\n`);
  }
});

test('a server whose port is in use exits with 1 and says what to do', async t => {
  const first = await startServerFor(t);
  const { status, stdout, stderr } = runToEnd('-p', `${first.port}`, '--host', '127.0.0.1');
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(
    stderr,
    new RegExp(
      `^pollywog: cannot listen on tcp://127.0.0.1:${first.port}: another program uses it; .*--port.*\n$`,
    ),
  );
  await assertServes(first.port);
  assert.equal(await first.stop(), 0);
});

test('a server whose address is not this machine’s exits with 1 and says so', () => {
  // TEST-NET-1 (RFC 5737): no machine has an address from it.
  const { status, stderr } = runToEnd('-p', '0', '--host', '192.0.2.1');
  assert.equal(status, 1);
  assert.match(
    stderr,
    /^pollywog: cannot listen on tcp:\/\/192\.0\.2\.1:0: this machine does not have that address; choose .*--host.*\n$/,
  );
});

test('a wrong address of --metrics-listen names that option', () => {
  const { status, stderr } = runToEnd('-p', '0', '--metrics-listen', 'tcp://192.0.2.1:0');
  assert.equal(status, 1);
  assert.match(stderr, / does not have that address; choose .* with --metrics-listen\n$/);
});

test('a server whose host name is unknown exits with 1 and says so', () => {
  // RFC 6761 §6.4: no name below `invalid` exists.
  const { status, stderr } = runToEnd('-p', '0', '--host', 'pond.invalid');
  assert.equal(status, 1);
  assert.match(
    stderr,
    /^pollywog: cannot listen on tcp:\/\/pond\.invalid:0: that host name is unknown; choose .*--host.*\n$/,
  );
});

test('checkconfig accepts the file that defaultconfig prints, and names an unknown option', () => {
  const folder = temporaryFolder();
  const file = join(folder, 'pollywog.json');
  const printed = runToEnd('defaultconfig');
  assert.equal(printed.status, 0);
  writeFileSync(file, printed.stdout);
  const good = runToEnd('checkconfig', file);
  assert.deepEqual([good.status, good.stdout, good.stderr], [0, `${file} is valid\n`, '']);
  writeFileSync(file, printed.stdout.replace('"port"', '"prot"'));
  const { status, stdout, stderr } = runToEnd('checkconfig', file);
  assert.deepEqual([status, stdout], [2, '']);
  assert.equal(stderr, `pollywog: ${file}: unknown option "prot"; did you mean "port"?\n`);
});

test('checkconfig reads the files that a configuration names, and finds the fault that the start would find', () => {
  const folder = temporaryFolder();
  const file = join(folder, 'pollywog.json');
  const missing = join(folder, 'missing');
  const cases: readonly (readonly [settings: object, sentence: RegExp])[] = [
    ...['api-token', 'publish-token', 'read-token', 'metrics-token'].map(
      option => [{ [option]: missing }, /cannot read the token in ".*missing": no such file/] as const,
    ),
    [{ 'auth-key': missing }, /cannot read the key in ".*missing": no such file/],
    [{ 'auth-key': folder }, /cannot read the key in ".*": it is not a regular file/],
    [{ 'tls-cert': missing, 'tls-key': missing }, /--tls-(cert|key) .*missing cannot be read: no such file/],
    [{ 'tls-cert': file, 'tls-key': file }, /contains no certificate in PEM format/],
    [{ static: missing }, /the folder of --static, ".*missing", does not exist/],
    [{ script: missing }, /missing/],
    [{ handlers: missing }, /--handlers must be a readable folder, not ".*missing"/],
    [{ exec: `upper=${missing}` }, /the program ".*missing" of the handler upper does not exist/],
  ];
  for (const [settings, sentence] of cases) {
    writeFileSync(file, JSON.stringify(settings));
    const check = runToEnd('checkconfig', file);
    const start = runToEnd('-p', '0', '--control', 'none', '--config', file);
    assert.match(check.stderr, sentence);
    assert.deepEqual([check.status, check.stdout], [start.status, '']);
    assert.ok(start.stderr.endsWith(check.stderr), start.stderr);
  }
});
