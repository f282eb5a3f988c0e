/** Faults by URL, option and command, and their traces in the log, in `--trace` and in `why`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { listen } from '../../../src/index.ts';
import { watchLog } from '../../../src/log/log.ts';
import type { ListenOptions } from '../../../src/testing/interface.ts';
import { connectTerminal } from '../../support/lineClient.ts';
import {
  connectRaw,
  connectTcp,
  exchange,
  handshakeRequest,
  type RawClient,
} from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { reload, runToEnd, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const text = (words: string) => frame(opcode.text, words);

/** Opens a WebSocket; it closes at the end of the test. */
async function open(t: TestContext, port: number, path: string): Promise<RawClient> {
  const client = await connectRaw(port, { path });
  t.after(() => client.destroy());
  return client;
}

/** A server in this process. @returns a function that runs a command on it */
async function openServer(t: TestContext, options: ListenOptions) {
  const server = await listen(options);
  t.after(() => server.close());
  return { ...server, port: server.port, fault: server.commands.fault, why: server.commands.why };
}

test('a fault by URL acts after the first message, or after the number in the URL', async t => {
  const { port } = await openServer(t, { faults: true });
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
  assert.match(polled.toString(), /^HTTP\/1\.1 400 .*faults in a URL work on WebSockets only\n$/s);
});

test('without --faults, the handler faulty is not served', async t => {
  const { port } = await openServer(t, {});
  const answer = await exchange(port, handshakeRequest({ path: '/faulty?reset' }));
  assert.match(answer.toString(), /^HTTP\/1\.1 404 .*start it with --faults/s);
  const page = await fetch(`http://127.0.0.1:${port}/faulty`);
  assert.equal(page.status, 404, 'a browser gets 404, too');
});

test('--fault adds faults to the connections of one handler, and a reload changes them', async t => {
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
  assert.match(runToEnd('checkconfig', file).stderr, /--fault broadcast: closed: unknown fault "closed"/);
  assert.match(String(reason), /--fault broadcast: closed: unknown fault "closed"; did you mean close\?/);
});

test('the server does not start with an invalid --fault', () => {
  const refusal = (fault: string) => {
    const { status, stderr } = runToEnd('-p', '0', '--control', 'none', '--fault', fault);
    assert.equal(status, 2, stderr);
    return stderr;
  };
  assert.equal(refusal('ehco: reset'), 'pollywog: --fault: there is no handler ehco; did you mean echo?\n');
  assert.equal(
    refusal('echo: reset=3'),
    'pollywog: --fault echo: reset=3: the fault reset takes no value; remove it\n',
  );
});

test('the command fault adds faults to open connections of any handler, and off removes them', async t => {
  const { port, fault, why } = await openServer(t, { pingInterval: 0 });
  const echo = await open(t, port, '/echo');
  const other = await open(t, port, '/broadcast');
  assert.deepEqual(await fault(1, 'stall'), { connections: 1, faults: ['stall'] });
  echo.send(text('a'), frame(opcode.ping, ''));
  other.send(text('b'));
  assert.equal((await other.nextFrame())?.payload.toString(), 'b');
  const { why: reason, faults } = (await why(1)) as { why: string; faults: string[] };
  assert.equal(reason, 'it has not ended');
  assert.match(faults.join(), /^stall seed=\d+: acted 2 times$/);
  assert.equal(echo.pending.length, 0);
  assert.deepEqual(await fault(1, 'off'), { connections: 1, faults: [] });
  assert.deepEqual(
    [await echo.nextFrame(), await echo.nextFrame()].map(one => one?.payload.toString()),
    ['a', ''],
  );
  assert.deepEqual(await fault('all', 'drop', 'times=1'), { connections: 2 });
  echo.send(text('lost'), text('c'));
  assert.equal((await echo.nextFrame())?.payload.toString(), 'c');
  assert.deepEqual(await fault('off'), { connections: 2 });
  other.send(text('d'));
  assert.equal((await other.nextFrame())?.payload.toString(), 'd');

  await fault(1, 'reset', 'after=1');
  await fault(2, 'reset');
  assert.equal(await other.ended, 'ECONNRESET');
  const record = (await why(2)) as { why: string; faults: string[] };
  assert.equal(record.why, 'the fault reset ended it');
  assert.match(record.faults.join(), /^drop times=1 seed=\d+: has not acted,reset seed=\d+: acted once$/);
});

test('the command fault refuses faults that a connection cannot have', async t => {
  const { port, fault } = await openServer(t, {});
  await open(t, port, '/echo');
  const terminal = await connectTerminal(port, 'newt');
  t.after(() => terminal.socket.destroy());
  for (const [words, message] of [
    [[1, 'silence'], 'silence is a fault of the handshake, but connection 1 is already open'],
    [[2, 'masked'], 'masked works on WebSockets only, and connection 2 is not one'],
    [[1], 'no faults given; name a fault, or write off to turn faults off'],
    [[9, 'stall'], 'there is no connection 9; pollywog list shows who is connected'],
    [['off', 'stall'], 'fault off takes no faults; name a connection before them'],
    [['all', 'stal'], 'unknown fault "stal"; did you mean stall?'],
  ] as const)
    await assert.rejects(fault(...words), { message });
  assert.deepEqual(await fault('all', 'masked'), { connections: 1 });
  const http = await connectTcp(port);
  t.after(() => http.destroy());
  for (let answers = 0; answers < 2; answers++) {
    http.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    const [answer] = await once(http, 'data');
    assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
    // `all` leaves out HTTP connections, because one of them may carry the command itself.
    assert.deepEqual(await fault('all', 'stall'), { connections: 2 });
  }
  assert.deepEqual(await fault('@newt', 'half-close'), { connections: 1, faults: ['half-close'] });
  await terminal.rest();
});

test('the trace shows each fault that acts, with the id of its connection', async t => {
  const lines: string[] = [];
  t.after(watchLog(line => lines.push(line) > 0));
  const server = await listen({ faults: true, trace: true });
  t.after(() => server.close());
  const client = await open(t, server.port, '/faulty?after=2&close=1011&reason=%1b[0m&seed=7');
  client.send(text('a'), text('b'), frame(opcode.close, Buffer.of(3, 0xe8)));
  await client.remainingFrames();
  const event = await server.waitFor(({ event }) => event === 'fault');
  assert.deepEqual([event['id'], event['fault']], [1, 'close=1011 reason=\x1b[0m after=2']);
  assert.match(lines.join(''), /fault id=1 ! close=1011 reason=\\u001b\[0m after=2\n/);
});
