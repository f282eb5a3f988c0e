/** The handler replay: it plays the server's side of a recording against any client. */
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { listen } from '../../src/index.ts';
import { chromiumHar } from '../support/har.ts';
import { connectRaw, tryRaw } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

/** A session with a handler that greets, answers, pings and closes. @returns its name */
async function recordSession(folder: string): Promise<string> {
  const server = await listen({
    record: folder,
    handlers: {
      quiz: {
        opened: connection => connection.send('What croaks?'),
        message(connection, message) {
          connection.send(message.text() === 'a frog' ? 'right' : 'wrong');
          connection.send(Buffer.from([1, 2, 3]));
          connection.close(4001, 'the end');
        },
      },
    },
  });
  const client = await connectRaw(server.port, { path: '/quiz' });
  client.send(frame(opcode.text, 'a frog'));
  await client.nextFrame();
  await client.nextFrame();
  await client.nextFrame();
  await client.nextFrame();
  client.send(closeFrame(4001));
  await client.end();
  await server.close();
  const [file = ''] = readdirSync(folder);
  return file.replace(/\.jsonl$/, '');
}

async function replay(t: TestContext, folder: string, ...options: object[]) {
  const server = await listen(Object.assign({ faults: true, replay: folder }, ...options));
  t.after(() => server.close());
  return server;
}

const texts = (frames: readonly { opcode: number; payload: Buffer }[]) =>
  frames.map(({ opcode: kind, payload }) =>
    kind === opcode.text ? payload.toString() : `${kind} ${payload.toString('hex')}`,
  );

const close4001 = `8 ${Buffer.concat([Buffer.from([0x0f, 0xa1]), Buffer.from('the end')]).toString('hex')}`;

test('a client hears what the recorded server sent, in the recorded order', async t => {
  const folder = temporaryFolder();
  const name = await recordSession(folder);
  const server = await replay(t, folder);
  for (const query of ['', '?speed=max']) {
    const client = await connectRaw(server.port, { path: `/replay/${name}${query}` });
    client.send(frame(opcode.text, 'a frog'));
    const frames = [
      await client.nextFrame(),
      await client.nextFrame(),
      await client.nextFrame(),
      await client.nextFrame(),
    ];
    assert.deepEqual(texts(frames.map(one => one!)), ['What croaks?', 'right', '2 010203', close4001]);
    client.send(closeFrame(4001));
    await client.end();
  }
  const { script } = await server.waitFor(({ event }) => event === 'script played');
  assert.equal(script, name);
});

test('a client that sends something else is told the line of the recording', async t => {
  const folder = temporaryFolder();
  const name = await recordSession(folder);
  const server = await replay(t, folder);
  const client = await connectRaw(server.port, { path: `/replay/${name}` });
  client.send(frame(opcode.text, 'a toad'));
  const frames = await client.remainingFrames();
  assert.equal(frames[1]?.payload.toString('utf8', 2), 'line 5: expected text "a frog", got text "a toad"');
  const { line, script } = await server.waitFor(({ event }) => event === 'script differs');
  assert.deepEqual([line, script], [5, name]);
});

test('recordings are replayed only with --faults, and only by a name that is no path', async t => {
  const folder = temporaryFolder();
  const name = await recordSession(folder);
  writeFileSync(join(folder, 'broken.jsonl'), '{}\n');
  const [open, closed] = [await replay(t, folder), await replay(t, folder, { faults: false })];
  const statusOf = async (port: number, path: string) => (await tryRaw(port, { path })).status;
  assert.equal(await statusOf(closed.port, `/replay/${name}`), 404);
  const cases: Record<string, number> = {
    [`/replay/${name}`]: 101,
    [`/replay/${name}/x`]: 404,
    '/replay/': 404,
    '/replay/nobody': 404,
    '/replay/..%2Fx': 404,
    '/replay/broken': 422,
    [`/replay/${name}?speed=fast`]: 400,
  };
  for (const [path, status] of Object.entries(cases))
    assert.equal(await statusOf(open.port, path), status, path);
});

test('the sessions of a HAR file are replayed, and the recorded subprotocol is chosen', async t => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'page.har'), chromiumHar('ws://127.0.0.1:1', 'croak.v2'));
  const server = await replay(t, folder);
  const headers = { 'Sec-WebSocket-Protocol': 'tpacket, croak.v2' };
  const client = await connectRaw(server.port, { path: '/replay/page-2?speed=max', headers });
  assert.equal(client.headers.get('sec-websocket-protocol'), 'croak.v2');
  client.send(frame(opcode.text, 'two'));
  assert.deepEqual(texts([(await client.nextFrame())!]), ['two']);
  client.destroy();
});
