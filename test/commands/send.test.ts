/** What connected clients see of send, publish, broadcast, ping and disconnect. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { maxPacketBlob } from '../../src/protocol/limits.ts';
import { connectMember, hearAll, hearUntil } from '../support/chatClient.ts';
import { commandWays, type OpenServer, type Outcome, openServer } from '../support/commandWays.ts';
import { openInspector } from '../support/inspectorClient.ts';
import { connectLines, connectTerminal, linesSoFar } from '../support/lineClient.ts';
import { connectRaw, connectTcp } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { messagesIn, writtenIn } from '../support/roomFiles.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { siteSecret } from '../support/tokens.ts';

const overHttp = commandWays.find(({ name }) => name === 'HTTP, as JSON')!;
const ask = (server: OpenServer, words: readonly string[], bytes?: Buffer): Promise<Outcome> =>
  overHttp.call(server, words, bytes);

const rows = async (server: OpenServer, ...words: string[]) =>
  JSON.parse((await ask(server, [...words, '--json'])).stdout) as Record<string, unknown>[];

describe('broadcast', () => {
  test('reaches every ready client once, whatever its wire', async t => {
    const server = await openServer(t);
    const clients = await Promise.all(['/echo', '/broadcast'].map(path => connectRaw(server.port, { path })));
    const framed = await connectMember(server.port, 'ada', 'pond', { path: '/tpacket' });
    const plain = await connectMember(server.port, 'bob', 'pond', { wire: 'tcp' });
    const newt = await connectTerminal(server.port, 'newt');
    const silent = await connectTcp(server.port);
    const nameless = await connectRaw(server.port, { path: '/tpacket' });
    const told = await ask(server, ['broadcast', 'one\ntwo']);
    assert.deepEqual(told, { exit: 0, stdout: 'sent: 5\n', stderr: '' });
    for (const client of clients) {
      const heard = await client.nextFrame();
      assert.deepEqual([heard?.opcode, heard?.payload.toString()], [opcode.text, 'one\ntwo']);
      client.send(frame(opcode.ping, 'x'));
      assert.equal((await client.nextFrame())?.opcode, opcode.pong, 'and nothing more');
    }
    const line = 'LOGGED_MSG uid=-1 p1=0 p2=0 "server: one\\ntwo"';
    for (const user of [framed, plain])
      assert.deepEqual(
        (await hearAll(user)).filter(said => said.startsWith('LOGGED')),
        [line],
      );
    const lines = await linesSoFar(newt);
    assert.deepEqual(lines, ['server: one', '    two']);
    nameless.send(frame(opcode.ping, 'x'));
    assert.equal((await nameless.nextFrame())?.opcode, opcode.pong);
    for (const { socket } of [...clients, framed, plain, newt, nameless]) socket.destroy();
    silent.destroy();
  });

  test('sends bytes to clients outside the chat only', async t => {
    const server = await openServer(t);
    const client = await connectRaw(server.port);
    const bytes = Buffer.from([0xff, 0, 0x0a]);
    assert.equal((await ask(server, ['broadcast'], bytes)).stdout, 'sent: 1\n');
    const heard = await client.nextFrame();
    assert.deepEqual([heard?.opcode, heard?.payload], [opcode.binary, bytes]);
    const ada = await connectMember(server.port, 'ada', 'pond');
    assert.equal((await ask(server, ['broadcast'], bytes)).stdout, 'sent: 1\n');
    assert.ok(!(await hearAll(ada)).some(said => said.startsWith('LOGGED')));
    for (const { socket } of [client, ada]) socket.destroy();
  });

  test('is refused for everyone if a chat user is present and the text is longer than a packet', async t => {
    const server = await openServer(t);
    const client = await connectRaw(server.port);
    const ada = await connectMember(server.port, 'ada', 'pond');
    const long = 'x'.repeat(maxPacketBlob + 1);
    for (const words of [
      ['broadcast', long],
      ['send', '@ada', long],
    ]) {
      const { exit, stderr } = await ask(server, words);
      assert.deepEqual([exit, stderr], [1, `pollywog: a message must have at most ${maxPacketBlob} bytes\n`]);
    }
    client.send(frame(opcode.ping, 'x'));
    assert.equal((await client.nextFrame())?.opcode, opcode.pong);
    assert.ok(!(await hearAll(ada)).some(said => said.startsWith('LOGGED')));
    assert.equal((await ask(server, ['publish', 'pond', long])).exit, 0, 'the channel carries it');
    await hearUntil(ada, 'LOGGED_MSG uid=-1 p1=0 p2=0 "server: [long message of 65537 bytes]"');
    assert.equal((await ask(server, ['send', '2', long])).exit, 0);
    for (const { socket } of [client, ada]) socket.destroy();
  });
});

describe('messages to subscribers of channels', () => {
  test('are JSON for those in the JSON form, and as sent for others', async t => {
    const server = await openServer(t);
    const plain = await connectRaw(server.port, { path: '/channels/orders' });
    const json = await connectRaw(server.port, { path: '/channels/orders?format=json' });
    assert.match(String((await json.nextFrame())?.payload), /^\{"last":/);
    const text = 'back in "five" minutes';
    assert.equal((await ask(server, ['broadcast', text])).stdout, 'sent: 2\n');
    assert.equal(String((await plain.nextFrame())?.payload), text);
    const heard = async () => JSON.parse(String((await json.nextFrame())?.payload)) as unknown;
    assert.deepEqual(await heard(), { from: 'server', data: text });
    const bytes = Buffer.from([0xff, 0, 0x0a]);
    assert.equal((await ask(server, ['broadcast'], bytes)).stdout, 'sent: 2\n');
    assert.deepEqual((await plain.nextFrame())?.payload, bytes);
    assert.deepEqual(await heard(), { from: 'server', base64: '/wAK' });
    const [, { id } = {}] = (await rows(server, 'list')).filter(({ handler }) => handler === 'channels');
    assert.equal((await ask(server, ['send', String(id), text])).exit, 0);
    assert.deepEqual(await heard(), { from: 'server', data: text });
    for (const { socket } of [plain, json]) socket.destroy();
  });

  test('do not reach a client that has not sent its token, an inspector, or an event stream', async t => {
    const key = join(temporaryFolder(), 'key');
    writeFileSync(key, siteSecret, { mode: 0o600 });
    const server = await openServer(t, '--auth-key', key, '--inspect');
    const waiting = await connectRaw(server.port, { path: '/channels/orders?format=json&await=token' });
    const inspector = await openInspector(server.port);
    await inspector.next('welcome');
    const stream = await fetch(`http://127.0.0.1:${server.port}/channels/orders`, {
      headers: { Accept: 'text/event-stream' },
    });
    assert.equal((await ask(server, ['broadcast', 'hello'])).stdout, 'sent: 0\n');
    const sentences: string[] = [];
    for (const { id, handler } of await rows(server, 'list')) {
      const { exit, stderr } = await ask(server, ['send', String(id), 'hello']);
      if (exit === 1) sentences.push(`${handler}: ${stderr.replace(/connection \d+/, 'it')}`);
    }
    assert.deepEqual(sentences.slice(0, 3), [
      'channels: pollywog: it is not ready: its handshake is unfinished, it has no nick or token yet, or it is closing\n',
      'inspect: pollywog: it is an inspector, which takes no messages\n',
      'null: pollywog: it is an event stream, which gets only what is published; publish in its channel\n',
    ]);
    await stream.body?.cancel();
    inspector.close();
    waiting.destroy();
  });
});

describe('send', () => {
  test('closes a slow consumer, and tells the sender', async t => {
    const server = await openServer(t);
    const mute = await connectRaw(server.port, { path: '/echo' });
    mute.socket.pause();
    const [{ id } = {}] = await rows(server, 'list');
    const text = 'x'.repeat(500_000);
    let told: Outcome = { exit: 0, stdout: '', stderr: '' };
    let sent = 0;
    for (; told.exit === 0 && sent < 100; sent++) told = await ask(server, ['send', String(id), text]);
    assert.ok(sent < 100, 'it was refused some time');
    assert.match(
      told.stderr,
      /^pollywog: connection \d+ does not read its messages and was closed \(--max-buffered\)/,
    );
    mute.socket.resume();
    mute.send(closeFrame(1013));
    const frames = await mute.remainingFrames();
    assert.equal(frames.at(-1)?.payload.readUInt16BE(), 1013);
    mute.destroy();
  });

  test('is refused during the handshake, while closing, and before a nick is set', async t => {
    const server = await openServer(t);
    const [shaking, closing, nameless] = [
      await connectTcp(server.port),
      await connectRaw(server.port),
      await connectRaw(server.port, { path: '/tpacket' }),
    ];
    const ids = (await rows(server, 'list'))
      .filter(({ wire }) => wire !== 'http')
      .map(({ id }) => String(id));
    await ask(server, ['disconnect', ids[1]!]);
    for (const id of ids) {
      const { exit, stderr } = await ask(server, ['send', id, 'hi']);
      assert.deepEqual(
        [exit, stderr],
        [
          1,
          `pollywog: connection ${id} is not ready: its handshake is unfinished, it has no nick or token yet, or it is closing\n`,
        ],
      );
    }
    shaking.destroy();
    for (const { socket } of [closing, nameless]) socket.destroy();
  });

  test('is refused for a user who is closing', async t => {
    const server = await openServer(t);
    const ada = await connectMember(server.port, 'ada', 'pond');
    // Its answer to the close frame does not come.
    ada.socket.pause();
    await ask(server, ['disconnect', '@ada', '4000', 'go']);
    const told = await ask(server, ['send', '2', 'hi']);
    assert.equal(told.exit, 1, told.stdout);
    ada.socket.destroy();
  });

  test('shows a nick that no user can take', async t => {
    const server = await openServer(t);
    const guest = await connectLines(server.port);
    guest.send('SERVER\n');
    await guest.linesUntil('! the nick SERVER is reserved for the server; choose another');
    guest.socket.destroy();
  });
});

describe('publish', () => {
  test('reaches only users in the room, and is kept in memory and on disk', async t => {
    const data = temporaryFolder();
    for (const options of [[], ['--data', data]]) {
      const server = await openServer(t, ...options);
      const ada = await connectMember(server.port, 'ada', 'pond');
      const bob = await connectMember(server.port, 'bob', 'lake');
      await Promise.all([hearAll(ada), hearAll(bob)]);
      assert.equal(
        (await ask(server, ['publish', 'pond', 'a "b"\n\u00e9'])).stdout.split('\n')[0],
        'sent: 1',
      );
      assert.equal(await ada.hear(), 'LOGGED_MSG uid=-1 p1=0 p2=0 "server: a \\"b\\"\\n\u00e9"');
      assert.deepEqual(await hearAll(bob), []);
      const [remembered, ...others] = await rows(server, 'history', 'pond');
      assert.deepEqual(
        [remembered?.['from'], remembered?.['text'], others],
        [undefined, 'a "b"\n\u00e9', []],
      );
      assert.equal(
        (await ask(server, ['publish', 'empty', 'left for later'])).stdout.split('\n')[0],
        'sent: 0',
      );
      const eve = await connectMember(server.port, 'eve', 'empty');
      await hearUntil(eve, 'LOGGED_MSG uid=-1 p1=0 p2=0 "server: left for later"');
      for (const { socket } of [ada, bob, eve]) socket.destroy();
    }
    const [stored] = messagesIn(data, 'pond');
    assert.deepEqual([stored?.from, stored?.text], [undefined, 'a "b"\n\u00e9']);
  });

  test('leaves no trace of rooms that were only looked at', async t => {
    const data = temporaryFolder();
    const server = await openServer(t, '--data', data);
    assert.deepEqual(await rows(server, 'history', 'nowhere'), []);
    assert.deepEqual(await rows(server, 'presence', 'nowhere'), []);
    assert.deepEqual(await rows(server, 'rooms'), []);
    assert.ok(!writtenIn(data).includes('nowhere'));
  });
});

describe('ping and disconnect', () => {
  test('a ping whose connection ends fails with that reason', async t => {
    const server = await openServer(t);
    const client = await connectRaw(server.port);
    const asked = ask(server, ['ping', '2']);
    assert.equal((await client.nextFrame())?.opcode, opcode.ping);
    client.send(closeFrame(1000));
    const { exit, stderr } = await asked;
    assert.deepEqual([exit, stderr], [1, 'pollywog: connection 2 ended before its pong came\n']);
    client.destroy();
  });

  test('several pings to one connection each get their own pong, in any order', async t => {
    const server = await openServer(t);
    const client = await connectRaw(server.port);
    const asked = [ask(server, ['ping', '2']), ask(server, ['ping', '2'])];
    const pings = [(await client.nextFrame())!, (await client.nextFrame())!];
    assert.notDeepEqual(pings[0]!.payload, pings[1]!.payload);
    for (const { payload } of pings.reverse()) client.send(frame(opcode.pong, payload));
    for (const one of asked) assert.equal((await one).exit, 0);
    client.destroy();
  });

  test('a ping without a pong times out', async t => {
    const server = await openServer(t, '--pong-timeout', '100ms', '--ping-interval', '0');
    const client = await connectRaw(server.port);
    const { exit, stderr } = await ask(server, ['ping', '2']);
    assert.deepEqual([exit, stderr], [1, 'pollywog: no pong from connection 2 within 0.1 s\n']);
    client.destroy();
  });

  test('disconnect closes with 1000, or with the given code and reason', async t => {
    const server = await openServer(t);
    for (const [words, expected] of [
      [[], '1000 '],
      [['4321'], '4321 '],
      [['3000', 'that', 'is', '\u00e9nough'], '3000 that is \u00e9nough'],
    ] as const) {
      const client = await connectRaw(server.port);
      const [found] = (await rows(server, 'list')).filter(({ wire }) => wire === 'websocket');
      assert.equal((await ask(server, ['disconnect', String(found?.['id']), ...words])).exit, 0);
      const { opcode: kind, payload } = (await client.nextFrame())!;
      assert.deepEqual(
        [kind, `${payload.readUInt16BE(0)} ${payload.toString('utf8', 2)}`],
        [opcode.close, expected],
      );
      await client.end();
      while ((await rows(server, 'list')).some(({ wire }) => wire === 'websocket'));
    }
  });

  test('disconnect cannot close the control connection', async t => {
    const server = await openServer(t);
    for (const id of ['0', '1']) assert.equal((await ask(server, ['disconnect', id])).exit, 1);
  });
});

describe('a nick with control characters', () => {
  test('cannot control the terminal of list', async t => {
    const server = await openServer(t);
    const ada = await connectMember(server.port, 'ada', 'pond');
    ada.send(7, 'red \x1b[31m \x9b2J \u202e bell\x07\r\nserver  fake row');
    await hearAll(ada);
    for (const words of [
      ['history', 'pond'],
      ['history', 'pond', '--json'],
    ]) {
      const { stdout } = await ask(server, words);
      assert.match(stdout, /red \\u001b\[31m \\u009b2J \\u202e bell\\u0007\\r\\nserver {2}fake row/);
      assert.doesNotMatch(stdout.replaceAll('\n', ''), /[\x00-\x1f\x7f-\x9f\u202e]/);
    }
    ada.socket.destroy();
  });
});
