/** The client that most Node programs use: npm's ws. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import WebSocket, { type ClientOptions } from 'ws';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';

async function open(
  url: string,
  protocols: string | string[] = [],
  options: ClientOptions = {},
): Promise<WebSocket> {
  const client = new WebSocket(url, protocols, { perMessageDeflate: false, ...options });
  await once(client, 'open');
  return client;
}

async function nextMessage(client: WebSocket): Promise<{ data: Buffer; isBinary: boolean }> {
  const [data, isBinary] = (await once(client, 'message')) as [Buffer, boolean];
  return { data, isBinary };
}

/** @returns what the client was told of the end */
async function close(client: WebSocket, code?: number, reason?: string): Promise<[number, string]> {
  const closed = once(client, 'close');
  client.close(code, reason);
  const [seen, why] = (await closed) as [number, Buffer];
  return [seen, why.toString()];
}

/** Different at each byte of a window of 256, so that a shift shows. */
function pattern(size: number): Buffer {
  return Buffer.alloc(size, Buffer.from(Array.from({ length: 251 }, (_, i) => i)));
}

describe('ws, the npm client, against the server', { timeout: 60_000 }, () => {
  let server: ServerProcess;
  let origin: string;
  before(async () => {
    server = await startServer('--log-level', 'debug');
    origin = `ws://127.0.0.1:${server.port}`;
  });
  after(async () => {
    assert.equal(await server.stop(), 0);
  });

  test('a text comes back as a text', async () => {
    const client = await open(`${origin}/echo`);
    client.send('grüß dich, 😀');
    const { data, isBinary } = await nextMessage(client);
    assert.deepEqual([data.toString(), isBinary], ['grüß dich, 😀', false]);
    await close(client);
  });

  test('a binary message comes back as a binary message', async () => {
    const client = await open(`${origin}/echo`);
    client.send(pattern(1000));
    const { data, isBinary } = await nextMessage(client);
    assert.deepEqual([data, isBinary], [pattern(1000), true]);
    await close(client);
  });

  test('fragments come back as one message', async () => {
    const client = await open(`${origin}/echo`);
    client.send('one ', { fin: false });
    client.send('two ', { fin: false });
    client.send('three', { fin: true });
    assert.equal((await nextMessage(client)).data.toString(), 'one two three');
    await close(client);
  });

  test('16 MiB come back, plain and compressed', async () => {
    const large = pattern(16 * 1024 * 1024);
    for (const perMessageDeflate of [false, true]) {
      const client = await open(`${origin}/echo`, [], { perMessageDeflate });
      client.send(large);
      assert.ok((await nextMessage(client)).data.equals(large));
      await close(client);
    }
  });

  test('one byte more than 16 MiB is refused with 1009, which the client is told', async () => {
    const client = await open(`${origin}/echo`);
    client.send(Buffer.alloc(16 * 1024 * 1024 + 1));
    const [code, reason] = (await once(client, 'close')) as [number, Buffer];
    assert.deepEqual([code, reason.toString()], [1009, 'a message is at most 16777216 bytes here']);
  });

  test('a ping is answered with its payload', async () => {
    const client = await open(`${origin}/echo`);
    const pong = once(client, 'pong');
    client.ping('are you there');
    assert.equal(String((await pong)[0]), 'are you there');
    await close(client);
  });

  test('close codes and reasons are seen on both sides', async () => {
    const seen: [number, string][] = [
      [1000, 'done'],
      [3001, 'grüße'],
      [4999, ''],
    ];
    for (const [code, reason] of seen) {
      const client = await open(`${origin}/echo?code=${code}`);
      assert.equal((await close(client, code, reason))[0], code);
    }
    const client = await open(`${origin}/echo`);
    // ws tells 1005 where a close frame has no code; so does the server's log.
    assert.deepEqual(await close(client), [1005, '']);
    for (const [code, reason] of [...seen, [1005, ''] as const]) {
      const { reason: told } = await server.untilLogged(
        entry => entry['event'] === 'closed' && entry['code'] === code,
      );
      assert.equal(told, reason, `what the server was told with ${code}`);
    }
  });

  test('the first subprotocol that the server has is chosen, and decides what answers', async () => {
    const first = await open(`${origin}/`, ['unknown', 'broadcast', 'echo']);
    const second = await open(`${origin}/`, ['broadcast']);
    assert.deepEqual([first.protocol, second.protocol], ['broadcast', 'broadcast']);
    const received = [nextMessage(first), nextMessage(second)];
    first.send('to all');
    assert.deepEqual(
      (await Promise.all(received)).map(({ data }) => data.toString()),
      ['to all', 'to all'],
    );
    const echo = await open(`${origin}/broadcast`, ['echo']);
    assert.equal(echo.protocol, 'echo');
    echo.send('back to me');
    assert.equal((await nextMessage(echo)).data.toString(), 'back to me');
    await Promise.all([first, second, echo].map(client => close(client)));
  });

  test('a client that offers no known subprotocol is told none', async () => {
    const client = new WebSocket(`${origin}/echo`, ['unknown']);
    const [error] = (await once(client, 'error')) as [Error];
    assert.equal(error.message, 'Server sent no subprotocol');
  });

  test('at SIGTERM every client is told 1001, and the server ends with 0', async () => {
    const other = await startServer();
    const clients = await Promise.all(
      Array.from({ length: 5 }, () => open(`ws://127.0.0.1:${other.port}/broadcast`)),
    );
    const closed = clients.map(client => once(client, 'close'));
    const code = other.stop();
    for (const each of closed) {
      const [seen, reason] = (await each) as [number, Buffer];
      assert.deepEqual([seen, reason.toString()], [1001, 'the server is going away']);
    }
    assert.equal(await code, 0);
  });
});

describe('ws with compression against the server', { timeout: 60_000 }, () => {
  for (const [mode, agreed] of [
    ['on', 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'],
    ['takeover', 'permessage-deflate'],
  ] as const) {
    test(`messages of all sizes come back with --compress ${mode}`, async () => {
      const server = await startServer('--compress', mode);
      const client = new WebSocket(`ws://127.0.0.1:${server.port}/echo`, {
        perMessageDeflate: { threshold: 0 },
      });
      const upgraded = once(client, 'upgrade');
      await once(client, 'open');
      const [response] = (await upgraded) as [{ headers: Record<string, string> }];
      assert.equal(response.headers['sec-websocket-extensions'], agreed);
      const sizes = [0, 1, 125, 126, 1023, 1024, 4096, 65_535, 65_536, 1_000_000];
      for (const size of [...sizes, ...sizes]) {
        client.send(pattern(size));
        const { data } = await nextMessage(client);
        assert.ok(data.equals(pattern(size)), `${size} bytes`);
      }
      await close(client);
      assert.equal(await server.stop(), 0);
    });
  }
});

describe('ws in a broadcast', { timeout: 60_000 }, () => {
  /** What each of three clients gets of the texts that they send one after the other. */
  async function received(...options: string[]): Promise<string[][]> {
    const server = await startServer(...options);
    const clients = await Promise.all(
      Array.from({ length: 3 }, () => open(`ws://127.0.0.1:${server.port}/broadcast`)),
    );
    const got = clients.map(() => [] as string[]);
    const closed = clients.map((client, index) => {
      client.on('message', data => got[index]!.push(String(data)));
      return once(client, 'close');
    });
    for (const [index, client] of clients.entries()) {
      client.send(`from ${index}`);
      // The pong comes behind whatever the message before it made, for this client and so for all.
      const pong = once(client, 'pong');
      client.ping();
      await pong;
    }
    // The drain's close frames come behind all messages.
    await server.stop();
    await Promise.all(closed);
    return got;
  }

  test('everyone gets every message, in one order', async () => {
    const all = ['from 0', 'from 1', 'from 2'];
    assert.deepEqual(await received(), [all, all, all]);
  });

  test('with --no-self the sender is left out', async () => {
    assert.deepEqual(await received('--no-self'), [
      ['from 1', 'from 2'],
      ['from 0', 'from 2'],
      ['from 0', 'from 1'],
    ]);
  });
});

describe('ws from a page of another origin', { timeout: 60_000 }, () => {
  test('is refused with 403 where --origin does not name that origin, and let in where it does', async () => {
    const server = await startServer('--origin', 'https://example.com');
    const url = `ws://127.0.0.1:${server.port}/echo`;
    const refused = new WebSocket(url, { origin: 'https://evil.example' });
    const [error] = (await once(refused, 'error')) as [Error];
    assert.equal(error.message, 'Unexpected server response: 403');
    const admitted = await open(url, [], { origin: 'https://example.com' });
    await close(admitted);
    assert.equal(await server.stop(), 0);
  });
});
