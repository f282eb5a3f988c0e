/** The chat at a terminal, and the other protocols on the same port. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, test } from 'node:test';
import type { Chat } from '../../../src/handlers/chat/room.ts';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { newLinesWire } from '../../../src/wires/lines.ts';
import { connectMember, expectHeard, hearAll, hearUntil, said, shown } from '../../support/chatClient.ts';
import { roundTrip } from '../../support/echoProbe.ts';
import { newFakeServer, openFakeConnection } from '../../support/fakeSocket.ts';
import { connectLines, connectTerminal, linesSoFar } from '../../support/lineClient.ts';
import { connectRaw, connectTcp, exchange, handshakeRequest } from '../../support/rawClient.ts';
import { startServerFor, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const greeting = '* this is Pollywog, a chat; which nick do you want?';

test('nc, packets over TCP and WebSocket share a room on one port', async t => {
  const { port } = await startServerFor(t);
  const nc = spawn('nc', ['127.0.0.1', String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => nc.kill('SIGKILL'));
  const lines = createInterface(nc.stdout)[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value as string | undefined;
  // Enter asks for the greeting.
  nc.stdin.write('\n');
  assert.equal(await line(), greeting);
  nc.stdin.write('newt\n');
  assert.equal(await line(), '* welcome, newt; /help lists the commands');
  assert.equal(await line(), '* this is lobby');
  assert.equal(await line(), '* newt is here');

  const web = await connectMember(port, 'web', 'lobby');
  await expectHeard(web, 'NEW_USER uid=-1 p1=4096 p2=0 "newt"', 'NEW_USER uid=-1 p1=4097 p2=0 "web"');
  const raw = await connectMember(port, 'raw', 'Lobby', { wire: 'tcp' });
  await hearUntil(raw, 'NEW_USER uid=-1 p1=4098 p2=0 "raw"');
  await expectHeard(web, 'NEW_USER uid=-1 p1=4098 p2=0 "raw"');
  assert.equal(await line(), '* web is here');
  assert.equal(await line(), '* raw is here');

  nc.stdin.write('hello from nc\n');
  await expectHeard(web, said(4096, 'hello from nc'));
  await expectHeard(raw, said(4096, 'hello from nc'));
  web.send(PacketCommand.NewMsg, 'hello from the web');
  raw.send(PacketCommand.NewMsg, 'hello from TCP');
  assert.deepEqual([await line(), await line()].sort(), ['raw: hello from TCP', 'web: hello from the web']);
  for (const client of [web, raw]) {
    const heard = [await client.hear(), await client.hear()].sort();
    assert.deepEqual(heard, [said(4097, 'hello from the web'), said(4098, 'hello from TCP')]);
  }
  nc.stdin.write('/who\n');
  assert.equal(await line(), '* 3 in lobby: newt, web, raw');

  await raw.leave();
  assert.equal(await line(), '* raw left');
  await expectHeard(web, 'DEL_USER uid=-1 p1=4098 p2=0 "raw"');
  nc.stdin.write('/quit\n');
  assert.equal(await line(), '* goodbye');
  // nc keeps its sending side open while somebody may type.
  nc.stdin.end();
  assert.equal(await line(), undefined);
  await expectHeard(web, 'DEL_USER uid=-1 p1=4096 p2=0 "newt"');
  assert.deepEqual(await hearAll(web), []);
});

test('a nick can be sent before the greeting, be refused, and chosen again', async t => {
  const { port } = await startServerFor(t);
  await connectTerminal(port, 'newt');
  const terminal = await connectLines(port);
  terminal.send('NEWT\r\n\r\nno\twt\n  toad \nToad\n');
  assert.deepEqual(await terminal.linesUntil('* Toad is here'), [
    greeting,
    '! the nick NEWT is taken; choose another',
    '! a nick must have at least one character; which nick do you want?',
    '! a nick must not have control or invisible characters; which nick do you want?',
    '! a nick must not begin or end with a space; which nick do you want?',
    '* welcome, Toad; /help lists the commands',
    '* this is lobby',
    '* newt is here',
  ]);
});

test('commands change the room, list its users, and report unknown commands', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  const toad = await connectTerminal(port, 'toad');
  assert.deepEqual(await linesSoFar(newt), ['* toad is here']);
  toad.send('/join the pond\r\nsplash\n/join The  Pond\n/join\n/dance now\n//slash\n\n/who\n');
  assert.deepEqual(await linesSoFar(toad), [
    '* this is the pond',
    '* toad is here',
    '! you are in The Pond already',
    '! a room must have at least one character',
    '! unknown command /dance; /help lists the commands',
    '* 1 in the pond: toad',
  ]);
  assert.deepEqual(await linesSoFar(newt), ['* toad left']);
  newt.send('/join the pond\n');
  assert.deepEqual(await linesSoFar(newt), [
    '* this is the pond',
    '* toad is here',
    '* newt is here',
    'toad: splash',
    'toad: /slash',
  ]);
});

test('newlines, escapes and control characters cannot forge another user’s line', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  const eve = await connectMember(port, 'eve', 'lobby');
  await hearUntil(eve, 'NEW_USER uid=-1 p1=4097 p2=0 "eve"');
  const forgeries = [
    'one\nnewt: I am an owl',
    'two\r\n* newt left',
    'three\rnewt: owl',
    '\x1b[2Jfour\x1b]0;title\x07',
    'five\u009b2J\u0085newt: owl',
    'six\x08\x08\x08newt',
    '\n\n\nseven',
    'eight\x7f\x00\x0b\x0c',
  ];
  for (const text of forgeries) eve.send(PacketCommand.NewMsg, text);
  await expectHeard(eve, ...forgeries.map(text => said(4097, text)));
  const expected = [
    'eve: one',
    '    newt: I am an owl',
    'eve: two',
    '    * newt left',
    'eve: three·newt: owl',
    'eve: ·[2Jfour·]0;title·',
    'eve: five·2J·newt: owl',
    'eve: six···newt',
    'eve: ',
    '    ',
    '    ',
    '    seven',
    'eve: eight····',
  ];
  assert.deepEqual(await linesSoFar(newt), ['* eve is here', ...expected]);
  const later = await connectLines(port);
  later.send('later\n');
  await later.linesUntil('* later is here');
  assert.deepEqual(await linesSoFar(later), expected, 'and so it is in the history');
});

test('text of all scripts passes, even a byte at a time, and invalid UTF-8 is refused', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  const toad = await connectTerminal(port, 'toad');
  for (const byte of Buffer.from('Grüße 🐸 — こんにちは\r\n')) {
    toad.send(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  toad.send(Buffer.from('ff0a', 'hex'));
  assert.deepEqual(await linesSoFar(toad), ['! a message must be valid UTF-8']);
  assert.deepEqual(await linesSoFar(newt), ['* toad is here', 'toad: Grüße 🐸 — こんにちは']);
});

for (const data of [false, true]) {
  test(`a line of 70 KB ends its sender's session with a sentence, and no one else's ${data ? '(with --data)' : ''}`, async t => {
    const directory = temporaryFolder();
    const server = await startServerFor(t, ...(data ? ['--data', directory] : []));
    const newt = await connectTerminal(server.port, 'newt');
    const web = await connectMember(server.port, 'web', 'lobby');
    await hearUntil(web, 'NEW_USER uid=-1 p1=4097 p2=0 "web"');
    assert.deepEqual(await linesSoFar(newt), ['* web is here']);
    const long = 'x'.repeat(70_000);
    for (const [nick, text] of [
      ['whole', `${long}\n`],
      ['endless', long],
      ['followed', `${long}\nand more\n`],
    ] as const) {
      const toad = await connectTerminal(server.port, nick);
      toad.send(text);
      assert.deepEqual((await toad.rest()).slice(-1), ['* a line is at most 65536 bytes']);
      assert.deepEqual(await linesSoFar(newt), [`* ${nick} is here`, `* ${nick} left`]);
      toad.socket.destroy();
    }
    const heard = (await hearAll(web)).map(text => text.replace(/uid=-1 p1=\d+ p2=0 /, ''));
    assert.deepEqual(
      heard,
      ['whole', 'endless', 'followed'].flatMap(nick => [`NEW_USER "${nick}"`, `DEL_USER "${nick}"`]),
    );
    const toad = await connectTerminal(server.port, 'longest');
    toad.send(`${'y'.repeat(65_536)}\r\n`.slice(1));
    toad.send(`${'z'.repeat(65_536)}\n`);
    await web.hear();
    assert.equal((await web.next())?.blob.toString(), 'y'.repeat(65_535));
    assert.equal((await web.next())?.blob.toString(), 'z'.repeat(65_536));
    const faults = server.logged().filter(({ level }) => level === 'error');
    assert.deepEqual(faults, []);
  });
}

test('a nick and a long text in one segment are recognized as lines, not HTTP', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  const toad = await connectLines(port);
  const text = Array.from({ length: 40 }, (_, i) => `line ${i} of something that was written before`);
  toad.send(`toad\n${text.join('\n')}\n`);
  assert.equal(await toad.line(), greeting);
  await toad.linesUntil('* toad is here');
  assert.deepEqual(await linesSoFar(newt), ['* toad is here', ...text.map(line => `toad: ${line}`)]);
});

test('EOF from a terminal makes its user leave after the last message is delivered', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  const toad = await connectLines(port);
  toad.socket.end('toad\nhello\nbye\n');
  assert.equal((await toad.rest())[0], greeting);
  assert.equal((await toad.socket.closed) || (await once(toad.socket, 'close')) !== undefined, true);
  assert.deepEqual(await linesSoFar(newt), ['* toad is here', 'toad: hello', 'toad: bye', '* toad left']);
  const nobody = await connectLines(port);
  nobody.socket.end('no nick');
  assert.deepEqual(await nobody.rest(), []);
});

test('without a greeting module silent connections get no greeting, whatever --greeting-delay is', async t => {
  const server = await startServerFor(t, '--greeting-delay', '20ms', '--handshake-timeout', '500ms');
  await server.untilLogged(
    ({ event, option }) => event === 'nothing to greet with' && option === 'greeting-delay',
  );
  const silent = await connectTcp(server.port);
  silent.resume();
  await once(silent, 'end');
  assert.equal(silent.bytesRead, 0);
  const [first, second] = [await connectTcp(server.port), await connectTcp(server.port)];
  first.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  assert.match(String((await once(first, 'data'))[0]), /^HTTP\/1\.1 200 /);
  second.write(handshakeRequest({ path: '/echo' }));
  assert.match(String((await once(second, 'data'))[0]), /^HTTP\/1\.1 101 /);
  for (const socket of [silent, first, second]) socket.destroy();
});

test('any kind of line end triggers the greeting, and so does telnet negotiation', async t => {
  const { port } = await startServerFor(t);
  for (const knock of ['\n', '\r\n', '\r\0', '\xff\xfd\x03\xff\xfb\x18']) {
    const client = await connectLines(port);
    client.send(Buffer.from(knock, 'latin1'));
    assert.equal(await client.line(), greeting, JSON.stringify(knock));
    client.socket.destroy();
  }
});

test('the first line that is not HTTP is the nick, and telnet’s CR NUL ends a line', async t => {
  const { port } = await startServerFor(t);
  for (const [nick, end] of [
    ['lf', '\n'],
    ['crlf', '\r\n'],
    ['crnul', '\r\0'],
  ] as const) {
    const client = await connectLines(port);
    client.send(`${nick}${end}`);
    assert.equal(await client.line(), greeting);
    assert.equal(await client.line(), `* welcome, ${nick}; /help lists the commands`);
    client.send(`/who${end}/quit${end}`);
    assert.ok((await client.rest()).includes(`* 1 in lobby: ${nick}`));
    client.socket.destroy();
  }
  const split = await connectLines(port);
  for (const byte of Buffer.from('eft\r\0/quit\r\0')) {
    split.send(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  assert.equal((await split.rest()).at(-1), '* goodbye');
});

test('telnet options are refused and removed from the text', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  const socket = await connectTcp(port);
  const received: Buffer[] = [];
  socket.on('data', bytes => received.push(bytes as Buffer));
  // DO SUPPRESS-GO-AHEAD, WILL TERMINAL-TYPE, WONT ECHO; a subnegotiation; NOP.
  socket.write(
    Buffer.from(
      '\xff\xfd\x03\xff\xfb\x18\xff\xfc\x01to\xff\xfa\x18\0xterm\xff\xf0ad\xff\xf1\r\nhi\r\n/quit\r\n',
      'latin1',
    ),
  );
  await once(socket, 'end');
  socket.end();
  const answer = Buffer.concat(received);
  assert.ok(answer.includes(Buffer.from('\xff\xfc\x03\xff\xfe\x18', 'latin1')), 'WONT and DONT');
  assert.ok(!answer.includes(Buffer.from('\xff\xfe\x01', 'latin1')), 'a refusal is not answered');
  assert.deepEqual(await linesSoFar(newt), ['* toad is here', 'toad: hi', '* toad left']);
});

describe('a listener for lines', () => {
  const options = ['--control', 'none', '--config', 'none', '--log-format', 'json'];

  test('greets at once and leads to the same chat as other listeners', async t => {
    const server = await startServerWith([...options, '--listen', 'tcp://127.0.0.1:0?lines'], { test: t });
    assert.match(server.url, /^tcp:\/\/127\.0\.0\.1:\d+$/);
    const [ada, bob] = [await connectLines(server.port), await connectLines(server.port)];
    assert.deepEqual([await ada.line(), await bob.line()], [greeting, greeting]);
    ada.send('ada\n');
    await ada.linesUntil('* ada is here');
    bob.send('bob\nhello\n');
    await ada.linesUntil('bob: hello');
  });

  test('rejects HTTP, so that no web page can post through a browser', async t => {
    const server = await startServerWith([...options, '--listen', 'tcp://127.0.0.1:0?lines'], { test: t });
    const ada = await connectLines(server.port);
    ada.send('ada\n');
    await ada.linesUntil('* ada is here');
    const page = await exchange(
      server.port,
      'POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\neve\nhello',
    );
    assert.equal(page.toString(), `${greeting}\n* this port speaks lines, not HTTP\n`);
    assert.deepEqual(await linesSoFar(ada), []);
  });

  test('waits for the PROXY header of a trusted proxy', async t => {
    const trust = ['--trust-proxy', '127.0.0.1', '--log-level', 'debug'];
    const server = await startServerWith([...options, ...trust, '--listen', 'tcp://127.0.0.1:0?lines'], {
      test: t,
    });
    const proxied = await connectLines(server.port);
    proxied.send('PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n');
    assert.equal(await proxied.line(), greeting);
    const { address } = await server.untilLogged(({ event }) => event === 'opened');
    assert.equal(address, '203.0.113.7:56324');
    const itself = await connectLines(server.port);
    assert.equal(await itself.line(), greeting);
  });
});

test('HTTP on the same server works as before, and a silent connection ends without a greeting', async t => {
  const { port } = await startServerFor(t, '--handshake-timeout', '300ms');
  assert.match(
    (await exchange(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toString(),
    / 200 [\s\S]*ok\n$/,
  );
  assert.match(
    (await exchange(port, 'FETCH /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toString(),
    /^HTTP\/1\.1 [45]/,
  );
  const silent = await connectLines(port);
  assert.deepEqual(await silent.rest(), []);
  const echo = await connectRaw(port, { path: '/echo' });
  await roundTrip(echo);
});

test('a user who returns to the room that was empty for longest meets others there', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  for (let i = 0; i < 64; i++) newt.send(`/join r${i}\nI was here\n`);
  await linesSoFar(newt);
  const eft = await connectTerminal(port, 'eft');
  eft.send('/join extra\nI was here\n/quit\n');
  await eft.rest();
  newt.send('/join r0\n');
  await linesSoFar(newt);
  const toad = await connectTerminal(port, 'toad');
  toad.send('/join r0\n/who\n');
  const heard = await linesSoFar(toad);
  assert.equal(heard.at(-1), '* 2 in r0: newt, toad');
  assert.deepEqual(await linesSoFar(newt), ['* toad is here']);
});

test('a graceful shutdown notifies terminals', async t => {
  const server = await startServerFor(t);
  const newt = await connectTerminal(server.port, 'newt');
  const raw = await connectMember(server.port, 'raw', 'pond', { wire: 'tcp' });
  newt.socket.on('end', () => newt.socket.end());
  raw.socket.on('end', () => raw.socket.end());
  assert.equal(await server.stop(), 0);
  assert.deepEqual(await newt.rest(), ['* the server is going away']);
  assert.equal(shown((await raw.next())!), 'NEW_USER uid=-1 p1=4097 p2=0 "raw"');
  assert.equal(await raw.hear(), 'RESP_ERROR uid=-1 p1=-1 p2=0 "the server is going away"');
});

test('many short lines that arrive together are separated in linear time', { timeout: 20_000 }, () => {
  const { connection } = openFakeConnection(newFakeServer(), undefined);
  const lines = newLinesWire({} as Chat);
  // A user's empty lines have no effect.
  Object.assign(connection, { wire: lines, endpoint: undefined, data: {} });
  for (const end of ['\r\0', '\n']) {
    const count = 2_000_000;
    const bytes = Buffer.from(end.repeat(count), 'latin1');
    const before = connection.messagesIn;
    for (let at = 0; at < bytes.length; ) at = lines.receive(connection, bytes, at, bytes.length);
    assert.equal(connection.messagesIn - before, count);
  }
});
