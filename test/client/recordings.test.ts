/** The client's --record and --replay. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readClientConfiguration } from '../../src/client/configuration.ts';
import { runReplay } from '../../src/client/recordings/replay.ts';
import { listen } from '../../src/index.ts';
import { chromiumHar } from '../support/har.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { type ClientProcess, runClient, startClient, startWs } from './clientProcess.ts';

async function startPollywog(t: TestContext): Promise<string> {
  const server = await listen();
  t.after(() => server.close());
  return server.url.replace(/\/$/, '');
}

interface Replayed {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Replays in this process. */
async function replay(...commandLine: string[]): Promise<Replayed> {
  const configuration = readClientConfiguration([...commandLine]);
  assert.ok(typeof configuration === 'object');
  const printed = { out: '', error: '' };
  const status = await runReplay(configuration, {
    out: text => {
      printed.out += text;
    },
    error: text => {
      printed.error += text;
    },
  });
  return { status, stdout: printed.out, stderr: printed.error };
}

let recorded: Promise<string> | undefined;

/** A recording of two messages to the handler echo. */
function recordEcho(t: TestContext): Promise<string> {
  recorded ??= startPollywog(t).then(url => recordAt(t, url));
  return recorded;
}

async function recordAt(t: TestContext, url: string): Promise<string> {
  const file = join(temporaryFolder(), 'session.jsonl');
  await runClient(t, [`${url}/echo?token=hush&x=1`, '-x', 'one', '-x', 'two', '-n', '2', '--record', file]);
  return file;
}

test('--record writes the session to a private file, without the credentials of the URL and the fields', async t => {
  const url = await startPollywog(t);
  const file = join(temporaryFolder(), 'session.jsonl');
  const fields = ['-H', 'Authorization: Bearer hush', '-H', 'X-Pond: frogs'];
  await runClient(t, [`${url}/echo?token=hush&x=1`, ...fields, '-x', 'hello', '-n', '1', '--record', file]);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const text = readFileSync(file, 'utf8');
  const lines = text
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
  const names = lines.map(
    ({ side, request, status, opcode, end }) => side ?? request ?? status ?? opcode ?? end,
  );
  assert.deepEqual(names, ['client', '/echo?token=***&x=1', 101, 'text', 'text', 'close', 'close', 'client']);
  assert.match(text, /"x-pond":"frogs"/);
  assert.doesNotMatch(text, /hush/);
});

test('a replay against the same server is equal, and the URL needs no path', async t => {
  const url = await startPollywog(t);
  const file = await recordEcho(t);
  for (const speed of ['max', '1', '20']) {
    const { status, stdout, stderr } = await replay(url, '--replay', file, '--speed', speed);
    assert.deepEqual([status, stderr], [0, '']);
    assert.equal(stdout, 'replayed 1 session: 3 sent, 3 compared: equal\n');
  }
});

test('a different answer is reported with the line of the recording, and the exit code is 1', async t => {
  const file = await recordEcho(t);
  const url = await startWs(t, socket => {
    socket.on('message', (data, isBinary) =>
      socket.send(String(data).replace('two', 'tow'), { binary: isBinary }),
    );
  });
  const { status, stdout, stderr } = await replay(`${url}echo`, '--replay', file, '--speed', 'max');
  assert.equal(stderr, 'session: line 7: expected text "two"; the server sent text "tow"\n');
  assert.deepEqual([status, stdout], [1, 'replayed 1 session: 3 sent, 2 compared: 1 of 1 session differ\n']);
});

test('a replay waits for an answer that the recorded server sent a month later', async t => {
  const file = join(temporaryFolder(), 'session.jsonl');
  const month = 30 * 24 * 3_600_000;
  let later = 0;
  const lines = readFileSync(await recordEcho(t), 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => {
      const event = JSON.parse(line);
      if (event.from === 'server' && event.opcode === 'text') later = month;
      return `${JSON.stringify(event.at === undefined ? event : { ...event, at: event.at + later })}\n`;
    });
  writeFileSync(file, lines.join(''));
  const url = await startWs(t, socket => {
    socket.on('message', async (data, binary) => {
      for (let round = 0; round < 100; round++) {
        socket.ping();
        await once(socket, 'pong');
      }
      socket.send(data, { binary });
    });
  });
  const { status, stderr } = await replay(`${url}echo`, '--replay', file, '--speed', 'max');
  assert.deepEqual([status, stderr], [0, '']);
});

test('an extra message, and a close frame with another code, are differences', async t => {
  const file = await recordEcho(t);
  const cases = [
    { answers: ['one', 'two', 'three'], says: /line 9: expected close 1000; the server sent text "three"/ },
    {
      answers: ['one', 'two'],
      code: 4000,
      says: /line 9: expected close 1000; the server sent close 4000 "bye"/,
    },
  ];
  for (const { answers, code, says } of cases) {
    const url = await startWs(t, socket => {
      socket.on('message', data => {
        if (String(data) !== 'two') return;
        for (const answer of answers) socket.send(answer);
        if (code !== undefined) socket.close(code, 'bye');
      });
    });
    const { status, stderr } = await replay(url, '--replay', file, '--speed', 'max');
    assert.equal(status, 1);
    assert.match(stderr, says);
  }
});

test('a refused handshake, and a refused connection, have the exit codes of a session', async t => {
  const file = await recordEcho(t);
  const server = await listen({ defaultHandler: 'none' });
  t.after(() => server.close());
  const refused = await replay(`${server.url}/nowhere`, '--replay', file);
  assert.equal(refused.status, 4);
  assert.match(refused.stderr, /^pollywog-client: refused: 404 /);
  const unreachable = await replay('ws://127.0.0.1:1/', '--replay', file);
  assert.deepEqual([unreachable.status, unreachable.stdout], [3, '']);
});

test('sessions that were recorded together are replayed together, and each receives the same messages', async t => {
  const folder = temporaryFolder();
  const server = await listen({ record: folder });
  const clients: ClientProcess[] = [];
  const opened = new Set<unknown>();
  for (let i = 0; i < 3; i++) {
    clients.push(startClient(t, `${server.url}/broadcast`, '-w', 'forever'));
    await server.waitFor(({ event, id }) => event === 'opened' && !opened.has(id) && opened.add(id).size > 0);
  }
  for (const [index, { child }] of clients.entries()) {
    child.stdin.write(`from ${index}\n`);
    for (const { untilPrinted } of clients) await untilPrinted(`from ${index}`);
  }
  for (const { child } of clients) child.kill('SIGINT');
  for (const { result } of clients) await result;
  await server.close();
  const url = await startPollywog(t);
  const equal = await replay(url, '--replay', folder, '--speed', 'max');
  assert.deepEqual([equal.status, equal.stderr], [0, '']);
  assert.match(equal.stdout, /^replayed 3 sessions: 6 sent, 12 compared: equal\n$/);
});

test('the WebSockets of a HAR file are replayed', async t => {
  const url = await startPollywog(t);
  const file = join(temporaryFolder(), 'page.har');
  writeFileSync(file, chromiumHar(url));
  const { status, stdout, stderr } = await replay(url, '--replay', file, '--speed', 'max');
  assert.deepEqual([status, stderr], [0, '']);
  assert.equal(stdout, 'replayed 2 sessions: 3 sent, 3 compared: equal\n');
});

test('a file that is not a recording, and options that contradict --replay, are usage errors', async () => {
  const file = join(temporaryFolder(), 'session.jsonl');
  writeFileSync(
    file,
    '{"pollywog":"recording","version":1,"time":"2026-11-27T05:06:38Z"}\n{"at":1}\n{"at":2}\n',
  );
  const cases: [string[], RegExp][] = [
    [['--replay', file], /session\.jsonl": line 2: "from" is neither "client" nor "server"/],
    [['--replay', '/nowhere'], /--replay "\/nowhere": ENOENT/],
    [['--replay', temporaryFolder()], /--replay found no recording/],
    [['--speed', 'max'], /--speed needs --replay/],
    [['--replay', file, '-x', 'hello'], /--replay sends the recorded messages; remove --send/],
    [['--replay', file, '--speed', '0'], /--speed must be max, or a number such as 1/],
  ];
  for (const [options, says] of cases) {
    await assert.rejects(replay('ws://127.0.0.1:1/', ...options), says);
  }
});
