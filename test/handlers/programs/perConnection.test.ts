/** `--exec`: what a program gets, and what happens to its output. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { maxStderrLines } from '../../../src/protocol/limits.ts';
import { roundTrip } from '../../support/echoProbe.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { MiB } from '../../support/processState.ts';
import { connectRaw, tryRaw } from '../../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';
import { serverScript, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { siteSecret, tokenOf } from '../../support/tokens.ts';
import { untilLogged } from '../../support/untilLogged.ts';
import { nextShown, quoteWords, untilSo, writeProgram } from './programs.ts';

const folder = temporaryFolder();
const sh = (script: string) => quoteWords('sh', '-c', script);
const python = (script: string) => quoteWords('/usr/bin/python3', '-c', script);

test('10,000 messages come back in order in every format', async t => {
  const formats = ['line', 'null', 'length', 'json'];
  const server = await startServerFor(t, ...formats.flatMap(name => ['--exec', `${name}:${name}=cat`]));
  for (const name of formats) {
    const client = await connectRaw(server.port, { path: `/${name}` });
    const texts = Array.from({ length: 10_000 }, (_, i) => `message ${i} ${'ü'.repeat(i % 50)}`);
    client.send(Buffer.concat(texts.map(text => frame(opcode.text, text))));
    for (const text of texts) assert.equal(await nextShown(client), text);
    client.destroy();
  }
});

test('length and json carry any bytes, in messages from 0 bytes to 1 MiB', async t => {
  const server = await startServerFor(t, '--exec', 'length:length=cat', '--exec', 'json:json=cat');
  for (const path of ['/length', '/json']) {
    const client = await connectRaw(server.port, { path });
    for (const size of [0, 1, 255, 256, 65_536, 1_048_576]) {
      const payload = Buffer.from(Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
      client.send(frame(opcode.binary, payload));
      const answer = await client.nextFrame();
      assert.equal(answer?.opcode, opcode.binary);
      assert.ok(answer.payload.equals(payload), `${path} ${size}`);
      client.send(frame(opcode.text, 'a\n\r\0"\\☃'));
      assert.equal(await nextShown(client), 'a\n\r\0"\\☃');
    }
    client.destroy();
  }
});

for (const [path, payload, code] of [
  ['line', 'a\nb', 1007],
  ['null', 'a\0b', 1007],
  ['line', Buffer.from('a'), 1003],
  ['null', Buffer.from('a'), 1003],
] as const) {
  test(`${path} refuses ${JSON.stringify(payload.toString())} with ${code} and ends its program`, async t => {
    const server = await startServerFor(t, '--log-level', 'debug', '--exec', `${path}:${path}=cat`);
    const client = await connectRaw(server.port, { path: `/${path}` });
    client.send(frame(typeof payload === 'string' ? opcode.text : opcode.binary, payload));
    assert.match(await nextShown(client), new RegExp(`^close ${code} only (single lines|texts)`));
    await server.untilLogged(({ event, ...its }) => event === 'program ended' && its['with'] === 0);
    client.destroy();
  });
}

test('a program’s environment has the CGI variables, PATH and the named variables, and nothing else', async t => {
  process.env['POLLY_SECRET'] = 'no';
  process.env['POLLY_NAMED'] = 'yes';
  t.after(() => {
    delete process.env['POLLY_SECRET'];
    delete process.env['POLLY_NAMED'];
  });
  const script = 'import json, os; print(json.dumps(dict(os.environ)))';
  const server = await startServerFor(t, '--exec', `env=${python(script)}`, '--exec-env', 'POLLY_NAMED');
  const client = await connectRaw(server.port, {
    path: '/env/b%20%C3%BC/c?x=%201',
    headers: {
      Host: 'example.com:81',
      Authorization: 'Basic x',
      'Proxy-Authorization': 'x',
      Proxy: 'http://evil',
      X_Forwarded_For: 'spoofed',
      'X-Forwarded-For': '10.0.0.1',
      Cookie: 'a=1; b="2"',
      'X-Note': 'ü',
    },
  });
  const { REMOTE_PORT, CONNECTION_ID, LC_CTYPE, ...environment } = JSON.parse(await nextShown(client));
  assert.deepEqual(environment, {
    PATH: process.env['PATH'],
    POLLY_NAMED: 'yes',
    GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_SOFTWARE: 'pollywog',
    SERVER_PROTOCOL: 'HTTP/1.1',
    SERVER_NAME: 'example.com',
    SERVER_PORT: '81',
    REQUEST_METHOD: 'GET',
    REQUEST_URI: '/env/b%20%C3%BC/c?x=%201',
    SCRIPT_NAME: '/env',
    PATH_INFO: '/b ü/c',
    QUERY_STRING: 'x=%201',
    REMOTE_ADDR: '127.0.0.1',
    HTTP_HOST: 'example.com:81',
    HTTP_UPGRADE: 'websocket',
    HTTP_CONNECTION: 'Upgrade',
    HTTP_SEC_WEBSOCKET_KEY: 'dGhlIHNhbXBsZSBub25jZQ==',
    HTTP_SEC_WEBSOCKET_VERSION: '13',
    HTTP_X_FORWARDED_FOR: '10.0.0.1',
    HTTP_COOKIE: 'a=1; b="2"',
    HTTP_X_NOTE: 'ü',
  });
  assert.equal(Number(REMOTE_PORT), client.socket.localPort);
  assert.match(CONNECTION_ID, /^\d+$/);
  // Python sets this itself without a locale.
  assert.ok(LC_CTYPE === undefined || LC_CTYPE === 'C.UTF-8');
  client.destroy();
});

test('a program gets no token, no signature and no token cookie once the server has a key for them', async t => {
  const path = join(temporaryFolder(), 'key');
  writeFileSync(path, siteSecret, { mode: 0o600 });
  const token = tokenOf({ sub: '17', exp: Math.floor(Date.now() / 1000) + 3600 });
  const script = sh('echo "$QUERY_STRING $REQUEST_URI $HTTP_COOKIE $HTTP_REFERER"');
  const shown = async (...options: string[]) => {
    const server = await startServerFor(t, '--exec', `env=${script}`, ...options);
    const client = await connectRaw(server.port, {
      path: `/env?token=${token}&a=1`,
      headers: { Cookie: 'a=1; jwt=t2; b=2', Referer: 'http://a/?token=t3&sign=s3' },
    });
    const line = await nextShown(client);
    client.destroy();
    return line;
  };
  assert.equal(
    await shown('--auth-key', path, '--token-cookie', 'jwt'),
    'token=***&a=1 /env?token=***&a=1 a=1; b=2 http://a/?token=***&sign=***',
  );
  assert.equal(
    await shown(),
    `token=${token}&a=1 /env?token=${token}&a=1 a=1; jwt=t2; b=2 http://a/?token=t3&sign=s3`,
    'without a key, such parameters belong to the program',
  );
});

test('PATH_INFO has the path as received if it cannot be decoded or has a NUL', async t => {
  const server = await startServerFor(
    t,
    '--exec',
    `env=${sh('echo "$SCRIPT_NAME $PATH_INFO"')}`,
    '--default-handler',
    'env',
  );
  for (const [path, due] of [
    ['/env/%zz', '/env /%zz'],
    ['/env/%00a', '/env /%00a'],
    ['/env', '/env '],
    ['/envy/%41', ' /envy/A'],
    ['/', ' /'],
  ] as const) {
    const client = await connectRaw(server.port, { path });
    assert.equal(await nextShown(client), due);
    client.destroy();
  }
});

for (const [script, due] of [
  ['printf "one\\ntwo"; exit 0', ['one', 'two', 'close 1000 the program ended']],
  ['echo sorry; exit 3', ['sorry', 'close 1011 the program failed']],
  ['echo sorry; kill -9 $$', ['sorry', 'close 1011 the program failed']],
  ['seq 100000 | tail -1; seq 50000 | tail -2', ['100000', '49999', '50000', 'close 1000 the program ended']],
  ['(sleep 0.2; echo late) & echo early', ['early', 'late', 'close 1000 the program ended']],
  ['exec <&-; echo deaf', ['deaf', 'close 1000 the program ended']],
] as const) {
  test(`a program’s output is delivered before its end closes the connection: ${script}`, async t => {
    const server = await startServerFor(t, '--exec', `x=${sh(script)}`);
    const client = await connectRaw(server.port, { path: '/x' });
    client.send(frame(opcode.text, 'something that nobody may read'));
    for (const line of due) assert.equal(await nextShown(client), line);
    client.send(closeFrame(1000));
    assert.equal(await nextShown(client), 'end');
    client.destroy();
  });
}

for (const [name, words, why] of [
  ['a line that is not UTF-8', 'x=printf "ok\\n\\377\\n"', 'the text is not valid UTF-8'],
  [
    'a line without end',
    `x=${sh('echo ok; exec tr "\\0" x </dev/zero')}`,
    /^a record is longer than \d+ bytes$/,
  ],
  [
    'a length that is too long',
    'x:length=printf "\\0\\0\\0\\002\\001ok\\177\\0\\0\\0\\001"',
    /^a record is longer than \d+ bytes$/,
  ],
  [
    'a truncated last record',
    'x:length=printf "\\0\\0\\0\\002\\001ok\\0\\0\\0\\003\\001"',
    'the last record is truncated',
  ],
  ['a line that is not JSON', `x:json=${sh(`echo '{"text":"ok"}'; echo ok`)}`, 'the line is not valid JSON'],
] as const) {
  test(`a program that writes ${name} fails its own connection and no other`, async t => {
    const server = await startServerFor(t, '--exec', words, '--max-message', '64KB');
    const other = await connectRaw(server.port, { path: '/echo' });
    const client = await connectRaw(server.port, { path: '/x' });
    for (const due of ['ok', 'close 1011 the program failed']) assert.equal(await nextShown(client), due);
    const said = await server.untilLogged(({ event }) => event === 'invalid program output');
    if (typeof why === 'string') assert.equal(said['why'], why);
    else assert.match(String(said['why']), why);
    await roundTrip(other);
    client.destroy();
    other.destroy();
  });
}

test('a program may close its connection with a code and a reason', async t => {
  const script = `read -r line; echo '{"close":4001,"reason":"no more"}'; cat >/dev/null`;
  const server = await startServerFor(t, '--exec', `x:json=${sh(script)}`);
  const client = await connectRaw(server.port, { path: '/x' });
  client.send(frame(opcode.text, 'hi'));
  assert.equal(await nextShown(client), 'close 4001 no more');
  client.destroy();
});

test('stderr is logged line by line, long lines are cut, and no log line can be forged', async t => {
  const script = `import sys
sys.stderr.write("first\\nsecond\\r\\n" + "x" * 5000 + "\\n\\x1b[31m{}\\nlast")`;
  const server = await startServerFor(t, '--exec', `x=${python(script)}`);
  const client = await connectRaw(server.port, { path: '/x' });
  await server.untilLogged(({ line }) => line === 'last');
  const lines = server.logged().filter(({ event }) => event === 'program stderr');
  assert.deepEqual(
    lines.map(({ line }) => line),
    ['first', 'second', `${'x'.repeat(1000)}…`, '\x1b[31m{}', 'last'],
  );
  for (const { program, id, pid } of lines)
    assert.deepEqual([program, typeof id, typeof pid], ['x', 'number', 'number']);
  client.destroy();
});

/** Writes its PID to stdout, and then endlessly to stderr. */
const flooder = (loop: string) => sh(`echo $$; ${loop}`);
const endlessLines = 'i=0; while :; do i=$((i+1)); echo "line $i"; done >&2';
const endlessLine = `exec /usr/bin/python3 -c 'import os
while True: os.write(2, b"x" * 65536)'`;

test('a program that floods stderr is throttled, and its last lines are logged after it is killed', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(
    t,
    ...['--exec', `lines=${flooder(endlessLines)}`, '--exec', `line=${flooder(endlessLine)}`],
    ...['--exec-grace', '1h'],
  );
  const [client, other] = [
    await connectRaw(server.port, { path: '/lines' }),
    await connectRaw(server.port, { path: '/line' }),
  ];
  const [pid, otherPid] = [Number(await nextShown(client)), Number(await nextShown(other))];
  const lines = () => server.logged().filter(({ event }) => event === 'program stderr');
  await untilSo(() => lines().length > 2 * maxStderrLines);
  // That takes at most three seconds; a slow machine may log the lines of a second late.
  assert.ok(lines().length <= 4 * maxStderrLines, `${lines().length} lines`);
  const [, written] = /^wchar: (\d+)$/m.exec(readFileSync(`/proc/${otherPid}/io`, 'latin1')) ?? [];
  assert.ok(Number(written) < 8 * MiB, `a line of ${written} bytes`);

  process.kill(pid, 'SIGKILL');
  assert.equal(await nextShown(client), 'close 1011 the program failed');
  const { count } = await server.untilLogged(({ event }) => event === 'lines omitted');
  const numberOf = ({ line }: Record<string, unknown>) => Number(/^line (\d+)$/.exec(String(line))?.[1]);
  await untilSo(() => numberOf(lines().at(-1)!) === lines().length + Number(count));
  process.kill(otherPid, 'SIGKILL');
  const { line } = await server.untilLogged(entry => entry['program'] === 'line' && 'line' in entry);
  assert.equal(line, `${'x'.repeat(1000)}…`);
  for (const one of [client, other]) one.destroy();
});

test('the server does not start with a program that does not exist or is not executable', async () => {
  const text = writeProgram(folder, 'notes.txt', 'dear diary');
  chmodSync(text, 0o644);
  for (const [word, where] of [
    ['no-such-program', 'is not on the PATH: write its full path'],
    ['/no/such/program', 'does not exist: correct its path'],
    [text, 'is not executable: run chmod +x on it'],
    [folder, 'is not a file: correct its path'],
  ] as const) {
    const commandLine = [serverScript, '-p', '0', '--exec', `x=${quoteWords(word)} arg`];
    const { status, stderr } = spawnSync(process.execPath, commandLine, {
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(stderr, `pollywog: the program ${JSON.stringify(word)} of the handler x ${where}\n`);
    assert.equal(status, 2);
  }
});

for (const [what, spoil, error] of [
  ['may not be run any more', (path: string) => chmodSync(path, 0o644), 'EACCES'],
  [
    'has no interpreter',
    (path: string) => writeProgram(folder, path.slice(folder.length + 1), '#!/no/such\n'),
    'ENOENT',
  ],
] as const) {
  test(`a program that ${what} when a client connects closes with 1011, and the log says why`, async t => {
    const path = writeProgram(folder, `spoilt-${error}`, '#!/bin/sh\nexec cat\n');
    const server = await startServerFor(t, '--exec', `x=${quoteWords(path)}`, '--exec-max', '1');
    spoil(path);
    // Twice: a program that failed to start does not count as running.
    for (let round = 1; round <= 2; round++) {
      const client = await connectRaw(server.port, { path: '/x' });
      client.send(frame(opcode.text, 'hi'));
      assert.equal(await nextShown(client), 'close 1011 the program could not be started');
      await untilLogged(server, 'program not started', round);
      client.destroy();
    }
    const said = await server.untilLogged(({ event }) => event === 'program not started');
    assert.match(String(said['error']), new RegExp(error));
  });
}

test('header fields too long for an environment close with 1011', async t => {
  const server = await startServerFor(t, '--exec', 'x=cat', '--max-header', '1MB');
  const client = await tryRaw(server.port, { path: '/x', headers: { 'X-Long': 'x'.repeat(200_000) } });
  assert.equal(await nextShown(client), 'close 1011 the program could not be started');
  client.destroy();
});

test('connections beyond --exec-max are closed with 1013 until a program has ended', async t => {
  const server = await startServerFor(
    t,
    '--log-level',
    'debug',
    '--exec',
    'x=cat',
    '--exec',
    'y=cat',
    '--exec-max',
    '2',
  );
  const first = await connectRaw(server.port, { path: '/x' });
  const second = await connectRaw(server.port, { path: '/y' });
  await roundTrip(first);
  await roundTrip(second);
  const third = await connectRaw(server.port, { path: '/y' });
  assert.equal(await nextShown(third), 'close 1013 too many programs are running; try again later');
  third.destroy();
  first.send(closeFrame(1000));
  await untilLogged(server, 'program ended');
  const fourth = await connectRaw(server.port, { path: '/y' });
  await roundTrip(fourth);
  for (const client of [first, second, fourth]) client.destroy();
});
