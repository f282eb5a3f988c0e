/** Faults of the opening handshake, byte for byte. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { handshakeFaults } from '../../../src/handlers/faults/handshake.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { connectForFaults, type FaultClient } from './faultClient.ts';

/** The accept value of RFC 6455 §1.3, for the key that the client sends. */
const accept = 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n';
const statusAndUpgrade = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
const usual = `${statusAndUpgrade}${accept}\r\n`;
const withField = (field: string) => `${statusAndUpgrade}${accept}${field}\r\n\r\n`;
const refusal = (status: string, fields: string) =>
  `HTTP/1.1 ${status}\r\n${fields}Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n`;

/** The response of each fault. The faults in `apart` have their own tests. */
const responses: Readonly<Record<string, string>> = {
  'no-accept': `${statusAndUpgrade}\r\n`,
  'double-accept': withField(accept.trimEnd()),
  'no-upgrade': usual.replace('Upgrade: websocket\r\n', ''),
  'unasked-subprotocol': withField('Sec-WebSocket-Protocol: unasked'),
  'unasked-subprotocol=chat': withField('Sec-WebSocket-Protocol: chat'),
  'unasked-extension': withField('Sec-WebSocket-Extensions: x-unasked'),
  'unasked-extension=permessage-deflate;%20y': withField('Sec-WebSocket-Extensions: permessage-deflate; y'),
  'drip-handshake=1ms': usual,
  'huge-header=100KB': withField(`X-Huge: ${'x'.repeat(100 * 1024)}`),
};
const apart = [
  ...['wrong-accept', 'status', 'early-frame', 'garbage', 'silence'],
  ...['drop-before', 'drop-during', 'drop-after'],
];

let server: ServerProcess;
before(async () => {
  server = await startServer(
    '--faults',
    '--allow',
    '/faulty/private: connect=nobody',
    '--refuse-with',
    'status',
  );
});
after(() => server.kill());

async function withFault(query: string, act: (client: FaultClient) => Promise<void>): Promise<void> {
  const client = await connectForFaults(server.port, `/faulty?${query}`);
  await act(client);
  client.destroy();
}

const echoed = frame(opcode.text, 'one', { key: null });

/** Waits for the echo of a message; by then the response is complete. */
async function untilEchoed({ say, until }: FaultClient): Promise<Buffer> {
  say('one');
  return until(body => body.includes(echoed));
}

describe('a fault of the handshake', () => {
  for (const [query, response] of Object.entries(responses)) {
    test(`${query} changes only the response`, () =>
      withFault(query, async client => {
        assert.deepEqual(await untilEchoed(client), echoed);
        assert.equal(client.head(), response);
      }));
  }

  test('wrong-accept sends the accept value of another key, and a seed repeats it', async () => {
    const values = new Set<string>();
    for (const seed of [1, 1, 2])
      await withFault(`wrong-accept&seed=${seed}`, async client => {
        await untilEchoed(client);
        const [, value = ''] = /^Sec-WebSocket-Accept: ([\w+/]{27}=)\r\n/m.exec(client.head()) ?? [];
        assert.equal(client.head(), usual.replace(accept, `Sec-WebSocket-Accept: ${value}\r\n`));
        assert.ok(!accept.includes(value));
        values.add(value);
      });
    assert.equal(values.size, 2);
  });

  for (const [query, head, body] of [
    ['status', refusal('503 Service Unavailable', 'Content-Length: 0\r\n'), ''],
    [
      'status=302&location=ws://example.com/b&body=go%20there',
      `${refusal('302 Found', 'Content-Length: 8\r\n')}Location: ws://example.com/b\r\n`,
      'go there',
    ],
    ['status=204&body=none', refusal('204 No Content', ''), ''],
  ] as const) {
    test(`${query} refuses the handshake, and ends TCP`, () =>
      withFault(query, async client => {
        assert.equal(await client.ended, 'FIN');
        assert.equal(client.head(), `${head}\r\n`);
        assert.equal(client.body().toString(), body);
      }));
  }

  test('early-frame arrives with the response, before the client sends anything', () =>
    withFault('early-frame', async client => {
      const early = frame(opcode.text, 'early-frame', { key: null });
      assert.deepEqual(await client.untilSize(early.length), early);
      assert.equal(client.head(), usual);
    }));

  test('garbage is not HTTP, and has the given size', () =>
    withFault('garbage=1000&seed=5', async client => {
      await client.until(body => body.length + client.head().length >= 1000);
      assert.equal(client.head().length + client.body().length, 1000);
      assert.doesNotMatch(client.head(), /^HTTP/);
    }));

  test('silence answers neither the handshake nor a message', () =>
    withFault('silence', async client => {
      client.say('one');
      client.socket.end();
      await client.ended;
      assert.equal(client.head(), '');
    }));

  for (const [name, size] of [
    ['drop-before', 0],
    ['drop-during', Math.floor(usual.length / 2)],
    ['drop-after', usual.length],
  ] as const) {
    test(`${name} ends TCP after ${size} bytes of the response`, () =>
      withFault(name, async client => {
        assert.equal(await client.ended, 'FIN');
        assert.equal(client.head(), usual.slice(0, size));
        assert.equal(client.body().length, 0);
      }));
  }

  test('always has a test here', () => {
    const tested = [...Object.keys(responses).map(query => query.split('=')[0]), ...apart];
    assert.deepEqual(handshakeFaults.map(({ name }) => name).sort(), [...new Set(tested)].sort());
  });

  test('does not act on a handshake that is refused', async () => {
    const client = await connectForFaults(server.port, '/faulty/private?silence&after=0&close');
    assert.equal(await client.ended, 'FIN');
    assert.match(client.head(), /^HTTP\/1\.1 403 /);
    assert.match(client.body().toString(), /^[^\x80-\xff]+\n$/);
  });
});
