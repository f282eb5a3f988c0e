/** The chat at a terminal, and everyone else on the same port. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { maxEmptyRooms } from '../../src/protocol/bounds.ts';
import { Command } from '../../src/protocol/packet.ts';
import { connectMember, expectHeard, hearAll, hearUntil, said, shown } from '../support/chatClient.ts';
import { roundTrip } from '../support/echoProbe.ts';
import { connectLines, connectTerminal, linesSoFar } from '../support/lineClient.ts';
import { connectRaw, exchange, handshakeRequest } from '../support/rawClient.ts';
import { FrameReader, frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';

const greeting = '* this is Pollywog, a chat; which nick do you want?';

test('nc, packets over TCP and WebSocket in one room on one port hear each other', async t => {
  const { port } = await startServerFor(t, '--greet-after', '100ms');
  // nc says nothing of its own: the server greets it.
  const nc = spawn('nc', ['127.0.0.1', String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => nc.kill('SIGKILL'));
  const lines = createInterface(nc.stdout)[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value as string | undefined;
  assert.equal(await line(), greeting);
  nc.stdin.write('newt\n');
  assert.equal(await line(), '* welcome, newt; /help lists what you can do');
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
  web.send(Command.NewMsg, 'hello from the web');
  raw.send(Command.NewMsg, 'hello from TCP');
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
  // nc keeps its own direction open for as long as somebody may type.
  nc.stdin.end();
  assert.equal(await line(), undefined);
  await expectHeard(web, 'DEL_USER uid=-1 p1=4096 p2=0 "newt"');
  assert.deepEqual(await hearAll(web), []);
});

test('a nick may be said before the greeting, refused and chosen again', async t => {
  const { port } = await startServerFor(t);
  await connectTerminal(port, 'newt');
  const terminal = await connectLines(port);
  terminal.send('NEWT\r\n\r\nno\twt\n  toad \nToad\n');
  assert.deepEqual(await terminal.linesUntil('* Toad is here'), [
    greeting,
    '! the nick NEWT is taken; which other?',
    '! a nick has at least one character; which nick do you want?',
    '! a nick has no control or invisible characters; which nick do you want?',
    '! a nick does not begin or end with a space; which nick do you want?',
    '* welcome, Toad; /help lists what you can do',
    '* this is lobby',
    '* newt is here',
  ]);
});

test('commands go to another room, tell who is there, and say what they do not know', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  const toad = await connectTerminal(port, 'toad');
  assert.deepEqual(await linesSoFar(newt), ['* toad is here']);
  toad.send('/join the pond\r\nsplash\n/join The  Pond\n/join\n/dance now\n//slash\n\n/who\n');
  assert.deepEqual(await linesSoFar(toad), [
    '* this is the pond',
    '* toad is here',
    '! you are in The Pond already',
    '! a room has at least one character',
    '! there is no /dance; /help lists what there is',
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

test('nobody can be made to say what they did not: newlines, escapes and controls are shown as such', async t => {
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
  for (const text of forgeries) eve.send(Command.NewMsg, text);
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

test('text of all scripts goes through, a byte at a time; what is no UTF-8 does not', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  const toad = await connectTerminal(port, 'toad');
  for (const byte of Buffer.from('Grüße 🐸 — こんにちは\r\n')) {
    toad.send(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  toad.send(Buffer.from('ff0a', 'hex'));
  assert.deepEqual(await linesSoFar(toad), ['! a message is UTF-8']);
  assert.deepEqual(await linesSoFar(newt), ['* toad is here', 'toad: Grüße 🐸 — こんにちは']);
});

for (const data of [false, true]) {
  test(`a line of 70 KB ends its sender's session with a sentence, and no one else's ${data ? '(with --data)' : ''}`, async t => {
    const directory = mkdtempSync(join(tmpdir(), 'pollywog-chat-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
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

test('a nick and a long text in one segment are lines, not HTTP', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  const toad = await connectLines(port);
  const text = Array.from({ length: 40 }, (_, i) => `line ${i} of something that was written before`);
  toad.send(`toad\n${text.join('\n')}\n`);
  assert.equal(await toad.line(), greeting);
  await toad.linesUntil('* toad is here');
  assert.deepEqual(await linesSoFar(newt), ['* toad is here', ...text.map(line => `toad: ${line}`)]);
});

test('the end of a terminal is its leaving, and what it said before is heard', async t => {
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

test('HTTP and WebSocket after the greeting still work', async t => {
  const { port } = await startServerFor(t, '--greet-after', '50ms');
  const browser = await connectLines(port);
  assert.equal(await browser.line(), greeting);
  browser.send('GET /healthz HTTP/1.1\r\n');
  browser.send('Host: localhost\r\n\r\n');
  const answer = await browser.rest();
  assert.match(answer[0] ?? '', /^HTTP\/1\.1 200 /);
  assert.equal(answer.at(-1), 'ok');

  const late = await connectLines(port);
  assert.equal(await late.line(), greeting);
  late.send(handshakeRequest({ path: '/echo' }));
  assert.match((await late.line()) ?? '', /^HTTP\/1\.1 101 /);
  await late.linesUntil('\r');
  const reader = new FrameReader();
  late.socket.removeAllListeners('data');
  late.send(frame(opcode.text, 'late, but here'));
  for await (const bytes of late.socket) {
    reader.add(bytes as Buffer);
    const echoed = reader.next();
    if (echoed === undefined) continue;
    assert.equal(echoed.payload.toString(), 'late, but here');
    break;
  }
});

test('HTTP beside it is served as ever, and without greetings no one is greeted', async t => {
  const { port } = await startServerFor(t, '--greet-after', '0', '--handshake-timeout', '300ms');
  assert.match(
    (await exchange(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')).toString(),
    / 200 [\s\S]*ok\n$/,
  );
  assert.match(
    (await exchange(port, 'FETCH /healthz HTTP/1.1\r\nHost: x\r\n\r\n')).toString(),
    /^HTTP\/1\.1 [45]/,
  );
  const silent = await connectLines(port);
  assert.deepEqual(await silent.rest(), []);
  const echo = await connectRaw(port, { path: '/echo' });
  await roundTrip(echo);
});

test('who goes back to the room that was left longest ago meets those who go there, too', async t => {
  const { port } = await startServerFor(t);
  const newt = await connectTerminal(port, 'newt');
  // As many as are remembered without anyone in them, less the one that newt stays in, and one of eft's.
  for (let i = 0; i < maxEmptyRooms; i++) newt.send(`/join r${i}\nI was here\n`);
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

test('terminals are told when the server goes', async t => {
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
