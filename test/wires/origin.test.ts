/** `--origin` is enforced for every kind of request that a web page can send. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openServer, secret } from '../support/commandWays.ts';
import { exchange, handshakeRequest } from '../support/rawClient.ts';
import { startServerFor, startServerWith } from '../support/serverProcess.ts';

const limit = { timeout: 60_000 };

type Fields = Readonly<Record<string, string>>;

const statusOf = (response: Buffer) => Number(response.toString('latin1').split(' ', 2)[1]);

function request(method: string, path: string, fields: Fields): string {
  const lines = Object.entries({ Host: 'pond.example', Connection: 'close', ...fields }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** The statuses of a handshake, a new polling session, a stream of events in it, and a command. */
async function statuses(port: number, fields: Fields): Promise<number[]> {
  const close = Buffer.from([0x88, 0x80, 0, 0, 0, 0]);
  const handshake = Buffer.concat([
    Buffer.from(handshakeRequest({ headers: { Host: 'pond.example', ...fields } })),
    close,
  ]);
  const webSocket = await exchange(port, handshake);
  const opened = await exchange(port, request('POST', '/poll/echo', fields));
  const plain = await exchange(port, request('POST', '/poll/echo', {}));
  const [, token = ''] = /"session":"([\w-]+)"/.exec(plain.toString()) ?? [];
  await exchange(port, request('DELETE', `/poll/s/${token}`, {}));
  const stream = await exchange(
    port,
    request('GET', `/poll/s/${token}`, { Accept: 'text/event-stream', ...fields }),
  );
  const command = await exchange(
    port,
    request('POST', '/api/info', { Authorization: `Bearer ${secret}`, ...fields }),
  );
  return [webSocket, opened, stream, command].map(statusOf);
}

const admitted = [101, 201, 404, 200];
const refused = [403, 403, 403, 403];

test('--origin restricts WebSockets, polls, event streams and commands', limit, async t => {
  const rules = ['--origin', '*.pond.example', '--origin', 'capacitor://localhost', '--origin', 'same'];
  const { port } = await openServer(t, ...rules, '--trust-proxy', '10.0.0.0/8');
  for (const Origin of ['https://a.pond.example', 'capacitor://localhost', 'https://pond.example']) {
    assert.deepEqual(await statuses(port, { Origin }), admitted, Origin);
  }
  for (const Origin of [
    'https://evilpond.example',
    'https://localhost',
    'null',
    'https://pond.example:8443',
  ]) {
    assert.deepEqual(await statuses(port, { Origin }), refused, Origin);
  }
  assert.deepEqual(await statuses(port, {}), admitted, 'programs send no Origin');
  const forwarded = { Origin: 'https://front.example', 'X-Forwarded-Host': 'front.example' };
  assert.deepEqual(await statuses(port, forwarded), refused, 'a stranger may not say what it was asked for');
});

test('--origin same compares with the last host that a trusted proxy reports', limit, async t => {
  const { port } = await openServer(t, '--origin', 'same', '--trust-proxy', '127.0.0.1');
  const Origin = 'https://front.example';
  for (const fields of [
    { 'X-Forwarded-Host': 'front.example' },
    { 'X-Forwarded-Host': 'elsewhere.example, front.example' },
    // The header also names the client, which changes the peer's address, not the sender of the header.
    { 'X-Forwarded-Host': 'front.example', 'X-Forwarded-For': '198.51.100.7' },
  ]) {
    assert.deepEqual(await statuses(port, { Origin, ...fields }), admitted, JSON.stringify(fields));
  }
  assert.deepEqual(
    await statuses(port, { Origin, 'X-Forwarded-Host': 'front.example, other.example' }),
    refused,
  );
  assert.deepEqual(
    await statuses(port, { Origin: 'http://pond.example', 'X-Forwarded-Host': 'x/y' }),
    admitted,
  );
});

test('a start without --origin logs that any web page may connect; with one it does not', limit, async t => {
  const entries = async (...options: string[]) => {
    const server = await startServerFor(t, ...options);
    await server.stop();
    return server.logged().filter(({ event }) => event === 'any web page may connect');
  };
  assert.equal((await entries()).length, 1);
  assert.equal((await entries('--origin', 'same')).length, 0);
  const onlyLines = ['--listen', 'tcp://127.0.0.1:0?lines', '--control', 'none', '--log-format', 'json'];
  const server = await startServerWith(onlyLines, { test: t });
  assert.equal(await server.stop(), 0);
  assert.ok(!server.stderr().includes('any web page'), 'no page reaches a listener for terminals');
});
