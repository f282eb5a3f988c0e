/** Where faults come from: the URL, the option and the command; and what tells of them. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { run } from '../../support/commandWays.ts';
import { connectTerminal } from '../../support/lineClient.ts';
import { connectRaw, exchange, handshakeRequest, type RawClient } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { reload, runToEnd, startServerFor, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const text = (words: string) => frame(opcode.text, words);

/** Opens a WebSocket that the test closes. */
async function open(t: TestContext, port: number, path: string): Promise<RawClient> {
  const client = await connectRaw(port, { path });
  t.after(() => client.destroy());
  return client;
}

/** A server with a control socket. @returns a function that runs a command, and its stdout or stderr */
async function openControlled(t: TestContext, ...options: string[]) {
  const control = join(temporaryFolder(), 'control');
  const standard = ['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--config', 'none'];
  const server = await startServerWith([...standard, '--control', control, ...options], { test: t });
  const command = async (...words: string[]) => {
    const { stdout, stderr } = await run(['--control', control, ...words]);
    return stdout + stderr;
  };
  return { server, command };
}

test('a fault by URL acts after the first message, or after as many as the URL says', async t => {
  const { port } = await startServerFor(t, '--faults');
  for (const [query, count] of [
    ['reset', 1],
    ['after=3&reset', 3],
    ['reset&after=3', 3],
    ['fault=reset&after=0', 0],
  ] as const) {
    const client = await open(t, port, `/faulty?${query}`);
    client.send(...['a', 'b', 'c', 'd'].map(text));
    assert.equal((await client.remainingFrames()).length, count, query);
  }
  const wrong = await exchange(port, handshakeRequest({ path: '/faulty?resett' }));
  assert.match(wrong.toString(), /^HTTP\/1\.1 400 .*unknown fault "resett"; did you mean reset\?\n$/s);
  const polled = await exchange(
    port,
    'POST /poll/faulty?reset HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
  );
  assert.match(polled.toString(), /^HTTP\/1\.1 400 .*faults by URL need a WebSocket\n$/s);
});

test('without --faults, the handler faulty is not served', async t => {
  const { port } = await startServerFor(t);
  const answer = await exchange(port, handshakeRequest({ path: '/faulty?reset' }));
  assert.match(answer.toString(), /^HTTP\/1\.1 404 .*start it with --faults/s);
});

test('--fault has faults for the connections of one handler, and a reload changes them', async t => {
  const file = join(temporaryFolder(), 'pollywog.json');
  const configure = (...fault: string[]) => writeFileSync(file, JSON.stringify({ fault }));
  configure('echo: after=2 close=4000 reason="by, by"');
  const words = ['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--control', 'none'];
  const server = await startServerWith([...words, '--config', file], { test: t });
  const closesAfter = async (path: string) => {
    const client = await open(t, server.port, path);
    client.send(text('a'), text('b'), text('c'), frame(opcode.close, Buffer.of(3, 0xe8)));
    const frames = await client.remainingFrames();
    return frames.map(({ payload }) => payload.toString('latin1'));
  };
  assert.deepEqual(await closesAfter('/echo'), ['a', 'b', '\x0f\xa0by, by']);
  assert.deepEqual(await closesAfter('/broadcast'), ['a', 'b', 'c', '\x03\xe8']);
  configure('broadcast: close=4001');
  await reload(server);
  assert.deepEqual(await closesAfter('/echo'), ['a', 'b', 'c', '\x03\xe8']);
  assert.deepEqual(await closesAfter('/broadcast'), ['a', '\x0f\xa1']);
  configure('broadcast: closed');
  const { event, reason } = await reload(server);
  assert.equal(event, 'reload failed');
  assert.match(String(reason), /--fault broadcast: closed: unknown fault "closed"; did you mean close\?/);
});

test('an invalid --fault stops the server at its start', () => {
  const refusal = (fault: string) => {
    const { status, stderr } = runToEnd('-p', '0', '--control', 'none', '--fault', fault);
    assert.equal(status, 2, stderr);
    return stderr;
  };
  assert.equal(
    refusal('ehco: reset'),
    'pollywog: --fault names the handler ehco, which does not exist; did you mean echo?\n',
  );
  assert.equal(
    refusal('echo: reset=3'),
    'pollywog: --fault echo: reset=3: the fault reset takes no value; remove it\n',
  );
});

test('the command fault breaks open connections of any handler, and off repairs them', async t => {
  const { server, command } = await openControlled(t, '--ping-interval', '0');
  const echo = await open(t, server.port, '/echo');
  const other = await open(t, server.port, '/broadcast');
  assert.equal(await command('fault', '2', 'stall'), 'connections: 1\nfaults:\n  stall\n');
  echo.send(text('a'), frame(opcode.ping, ''));
  other.send(text('b'));
  assert.equal((await other.nextFrame())?.payload.toString(), 'b');
  assert.match(
    await command('why', '2'),
    /^id: 2\nwhy: it has not ended\nfaults:\n {2}stall seed=\d+: acted 2 times\n/,
  );
  assert.equal(echo.pending.length, 0);
  assert.equal(await command('fault', '2', 'off'), 'connections: 1\nfaults: -\n');
  assert.deepEqual(
    [await echo.nextFrame(), await echo.nextFrame()].map(one => one?.payload.toString()),
    ['a', ''],
  );
  assert.equal(await command('fault', 'all', 'drop', 'times=1'), 'connections: 2\n');
  echo.send(text('lost'), text('c'));
  assert.equal((await echo.nextFrame())?.payload.toString(), 'c');
  assert.equal(await command('fault', 'off'), 'connections: 2\n');
  other.send(text('d'));
  assert.equal((await other.nextFrame())?.payload.toString(), 'd');

  assert.equal(await command('fault', '2', 'reset', 'after=1'), 'connections: 1\nfaults:\n  reset after=1\n');
  assert.equal(await command('fault', '3', 'reset'), 'connections: 1\nfaults:\n  reset\n');
  assert.equal(await other.ended, 'ECONNRESET');
  assert.match(
    await command('why', '3'),
    /^why: the fault reset ended it\n.*faults:\n.* {2}reset seed=\d+: acted once\n/s,
  );
});

test('the command fault refuses what a connection cannot have', async t => {
  const { server, command } = await openControlled(t);
  await open(t, server.port, '/echo');
  const terminal = await connectTerminal(server.port, 'newt');
  t.after(() => terminal.socket.destroy());
  assert.equal(
    await command('fault', '2', 'silence'),
    'pollywog: silence is a fault of the handshake, which is over on connection 2\n',
  );
  assert.equal(
    await command('fault', '3', 'masked'),
    'pollywog: masked needs a WebSocket, which connection 3 is not\n',
  );
  assert.equal(await command('fault', '2'), 'pollywog: no fault is given; off turns faults off\n');
  assert.match(await command('fault', '9', 'stall'), /there is no connection 9/);
  assert.match(await command('fault', 'off', 'stall'), /fault off takes no faults/);
  assert.equal(await command('fault', 'all', 'masked'), 'connections: 1\n');
  assert.equal(await command('fault', '@newt', 'half-close'), 'connections: 1\nfaults:\n  half-close\n');
  await terminal.rest();
});

test('the trace and the log show each fault that acts', async t => {
  const server = await startServerFor(t, '--faults', '--trace');
  const client = await open(t, server.port, '/faulty?after=2&close=1011&seed=7');
  client.send(text('a'), text('b'), frame(opcode.close, Buffer.of(3, 0xe8)));
  await client.remainingFrames();
  const { id, fault } = await server.untilLogged(({ event }) => event === 'fault');
  assert.deepEqual([id, fault], [1, 'close=1011 after=2']);
});
