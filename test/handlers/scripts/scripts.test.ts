/** Scripts at /script/NAME, played against clients that write their own frames. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { readScripts } from '../../../src/handlers/scripts/folder.ts';
import { connectRaw, exchange, handshakeRequest, type RawClient, tryRaw } from '../../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

function folderWith(scripts: Readonly<Record<string, string>>): string {
  const folder = temporaryFolder();
  for (const [name, text] of Object.entries(scripts)) writeFileSync(join(folder, `${name}.txt`), text);
  return folder;
}

/** The scripts of the one server that all tests share. */
const scripts = {
  hello: '< text "I am {{name?}}"\n> text "hello, {{name}}"\n> ping "?"\n< pong "?"',
  differs: '# first\n< text "a"\n< text "b"',
  late: '< close 1000\n> text "not yet"\n> close 4000 "now"',
  plain: '< close',
  bytes: '> hex 8105 48656c6c6f\n> text rsv=4 "x"\n> ping more\n> drop',
  flood: 'repeat\n> binary 00 x 100000\nend',
  short: 'timeout 50ms\n< text "a"',
  strict: '< text "b"',
  why: '< text "a"',
  huge: '> binary says=18446744073709551615',
  many: 'wait 50ms\nrepeat 300\n< binary any\nend\n> text "all"',
  large: '< text "a" x 3000000\n> text "small" compressed\n< close',
  chat: 'subprotocol chat\n> text "hi"',
  greeting: '> text "first"',
};

const folder = folderWith(scripts);
let server: ServerProcess;
before(async () => {
  const options = ['--trace', '--log-level', 'debug', '--max-memory', '8MB'];
  server = await startServer('--script', folder, ...options);
});
after(() => server.kill());

const connectTo = (name: string, { port } = server) => connectRaw(port, { path: `/script/${name}` });

/** The next frame: `text hello`, `close 1000 bye`. */
async function next(client: RawClient): Promise<string> {
  const got = await client.nextFrame();
  if (got === undefined) return 'end';
  const [kind] = Object.entries(opcode).find(([, number]) => number === got.opcode) ?? [
    `opcode ${got.opcode}`,
  ];
  if (kind !== 'close' || got.payload.length === 0) return `${kind} ${got.payload}`.trimEnd();
  return `close ${got.payload.readUInt16BE()} ${got.payload.subarray(2)}`.trimEnd();
}

/** The script's first outcome in the log. */
const outcomeOf = (name: string) =>
  server.untilLogged(
    ({ event, script }) => (event === 'script played' || event === 'script differs') && script === name,
  );

describe('a script', () => {
  test('plays to its end and closes the connection with 1000', async () => {
    const client = await connectTo('hello');
    client.send(frame(opcode.text, 'I am ada'));
    assert.equal(await next(client), 'text hello, ada');
    assert.equal(await next(client), 'ping ?');
    client.send(frame(opcode.pong, '?'));
    assert.equal(await next(client), 'close 1000');
    const { event, id } = await outcomeOf('hello');
    assert.deepEqual([event, typeof id], ['script played', 'number']);
    client.send(closeFrame(1000));
    await client.end();
  });

  test('reports a difference with its line in the log, and to the client with 4409', async () => {
    const client = await connectTo('differs');
    client.send(frame(opcode.text, 'a'), frame(opcode.text, 'c'));
    assert.equal(await next(client), 'close 4409 line 3: expected text "b", got text "c"');
    const { event, line, expected, seen } = await outcomeOf('differs');
    assert.deepEqual([event, line, expected, seen], ['script differs', 3, 'text "b"', 'text "c"']);
    client.destroy();
  });

  test('decides when the server answers a close frame', async () => {
    const late = await connectTo('late');
    late.send(closeFrame(1000, 'bye'));
    assert.deepEqual(
      [await next(late), await next(late), await next(late)],
      ['text not yet', 'close 4000 now', 'end'],
    );
    const auto = await connectTo('plain');
    auto.send(closeFrame(3001));
    assert.deepEqual([await next(auto), await next(auto)], ['close 3001', 'end']);
    for (const client of [late, auto]) client.destroy();
  });

  test('sends any bytes, including invalid frames', async () => {
    const client = await connectTo('bytes');
    const first = (await client.nextFrame())!;
    const second = (await client.nextFrame())!;
    const third = (await client.nextFrame())!;
    assert.equal(String(first.payload), 'Hello');
    assert.deepEqual([second.rsv, third.fin], [4, false]);
    assert.equal(await client.nextFrame(), undefined);
    client.destroy();
    const shown = server.logged().flatMap(({ event, fault }) => (event === 'fault' ? [fault] : []));
    assert.deepEqual(shown, ['hex 8105 48656c6c6f', 'text rsv=4 "x"'], 'the trace shows the lines');
  });

  test('repeats endlessly while the client stays, no faster than the client reads', async () => {
    const client = await connectTo('flood');
    client.socket.pause();
    const other = await connectTo('flood');
    for (let i = 0; i < 100; i++) await other.nextFrame();
    for (const each of [other, client]) {
      each.send(closeFrame(1000));
      each.socket.resume();
      for (;;) if ((await next(each)) === 'close 1000') break;
      each.destroy();
    }
    assert.equal((await outcomeOf('flood'))['event'], 'script played');
  });

  test('stops reading while the backlog of unawaited frames is full', async () => {
    const client = await connectTo('many');
    // 30 MB together: a server that kept them all would exceed its --max-memory and drop the client.
    const piece = frame(opcode.binary, Buffer.alloc(100_000));
    for (let i = 0; i < 300; i++) client.send(piece);
    assert.equal(await next(client), 'text all');
    client.destroy();
  });

  test('compares the inflated text of a compressed message', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${server.port}/script/large`);
    await once(client, 'open');
    client.send('a'.repeat(3_000_000));
    const [message] = await once(client, 'message');
    assert.equal(String(message), 'small');
    client.close();
    await once(client, 'close');
    assert.equal((await outcomeOf('large'))['event'], 'script played');
  });

  test('ends with a difference if the client breaks a rule, leaves, or stays silent', async () => {
    const silent = await connectTo('short');
    assert.equal(await next(silent), 'close 4409 line 2: expected text "a", got nothing within 50ms');
    const wrong = await connectTo('strict');
    wrong.send(frame(opcode.text, 'b', { key: null }));
    assert.equal(await next(wrong), 'close 1002 a client must mask its frames');
    assert.match(
      String((await outcomeOf('strict'))['seen']),
      /^a frame that breaks a rule: a client must mask/,
    );
    for (const client of [silent, wrong]) client.destroy();
    const gone = await connectTo('strict');
    await gone.end();
    await server.untilLogged(({ event, seen }) => event === 'script differs' && seen === 'end');
  });

  test('with a difference explains the end of the connection in why and in the log', async () => {
    const client = await connectTo('why');
    client.send(frame(opcode.text, 'b'));
    assert.match(await next(client), /^close 4409/);
    client.send(closeFrame(4409));
    await client.end();
    const { why } = await server.untilLogged(
      entry => entry['event'] === 'closed' && /script why/.test(String(entry['why'])),
    );
    assert.equal(why, 'line 1 of the script why: expected text "a", got text "b"');
  });

  test('demands its subprotocol, and other scripts do not accept it', async () => {
    const offering = (offer: string | null, name = 'chat') =>
      connectRaw(server.port, { path: `/script/${name}`, headers: { 'Sec-WebSocket-Protocol': offer } });
    const polite = await offering('superchat, chat');
    assert.deepEqual([polite.headers.get('sec-websocket-protocol'), await next(polite)], ['chat', 'text hi']);
    for (const offer of ['superchat', null]) {
      const client = await offering(offer);
      const reason = 'line 1: expected subprotocol chat, got a handshake that does not offer it';
      assert.equal(await next(client), `close 4409 ${reason}`);
      client.destroy();
    }
    const other = await offering('chat', 'greeting');
    assert.equal(other.headers.get('sec-websocket-protocol'), undefined);
    for (const client of [polite, other]) client.destroy();
  });

  test('that does not exist is refused with 404, and so is a path below a script', async () => {
    for (const path of ['/script/b', '/script', '/script/', '/script/why/b', '/script/..', '/script/w%68y']) {
      const client = await tryRaw(server.port, { path });
      assert.equal(client.status, 404, path);
      client.destroy();
    }
    const elsewhere = await tryRaw(server.port, {
      path: '/x/why',
      headers: { 'Sec-WebSocket-Protocol': 'script' },
    });
    assert.equal(elsewhere.status, 404);
    elsewhere.destroy();
    const poll = await fetch(`http://127.0.0.1:${server.port}/poll/script/why`, { method: 'POST' });
    assert.equal(poll.status, 404);
  });
});

test('without scripts, a server refuses their paths, and says how to play them', async t => {
  const { port } = await startServerFor(t);
  const answer = await exchange(port, handshakeRequest({ path: '/script/greeting' }));
  assert.match(
    answer.toString(),
    /^HTTP\/1\.1 404 .*this server plays no scripts; start it with --script DIR\n$/s,
  );
});

describe('the folder of --script', () => {
  test('is read again at a reload, but a mistake in a script changes nothing', async () => {
    const greeting = async () => {
      const client = await connectTo('greeting');
      const text = await next(client);
      client.destroy();
      return text;
    };
    assert.equal(await greeting(), 'text first');
    writeFileSync(join(folder, 'greeting.txt'), '> text "second"');
    server.child.kill('SIGHUP');
    const reloaded = await server.untilLogged(({ event }) => event === 'reloaded');
    assert.match(JSON.stringify(reloaded), /scripts: greeting"/);
    assert.equal(await greeting(), 'text second');
    writeFileSync(join(folder, 'greeting.txt'), '> frob');
    server.child.kill('SIGHUP');
    const { reason } = await server.untilLogged(({ event }) => event === 'reload failed');
    assert.match(String(reason), /greeting\.txt: line 1: unknown word "frob"/);
    assert.equal(await greeting(), 'text second');
  });

  test('must exist and have scripts without mistakes', () => {
    const missing = temporaryFolder();
    rmSync(missing, { recursive: true });
    const cases: [string, RegExp][] = [
      [missing, /--script: cannot read "\S+": no such file; correct the path/],
      [temporaryFolder(), /--script: \S+ has no scripts; name them NAME\.txt/],
      [folderWith({ a: '> text "a' }), /a\.txt: line 1: a string has no end; add the closing quote/],
      [
        folderWith({ 'a b': '> text' }),
        /a b\.txt: the name of a script has only letters, digits, _ and -; rename it/,
      ],
      [folderWith({ a: '< hex 00' }), /a\.txt: line 1: a script can only await valid frames/],
    ];
    for (const [wrong, reason] of cases) assert.throws(() => readScripts(wrong), reason);
  });
});
