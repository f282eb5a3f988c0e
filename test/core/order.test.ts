/** The order of work in a turn, as the trace shows it: control frames, then commands, then messages. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { roundTrip } from '../support/echoProbe.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServerFor, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const key = Buffer.from([1, 2, 3, 4]);

/** Stops the server until everything that `act` sends has arrived, so that one turn finds it all. */
async function inOneTurn(server: ServerProcess, clients: number, act: () => Promise<void>): Promise<void> {
  process.kill(server.pid, 'SIGSTOP');
  // Signals are asynchronous: wait until /proc shows that the process has stopped.
  while (!/\) T /.test(readFileSync(`/proc/${server.pid}/stat`, 'latin1'))) await new Promise(setImmediate);
  await act();
  while (waitingInputs(server.port) < clients) await new Promise(setImmediate);
  process.kill(server.pid, 'SIGCONT');
}

/** The number of the server's TCP connections that have unread input. */
function waitingInputs(port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = readFileSync('/proc/net/tcp', 'latin1').trim().split('\n').slice(1);
  return lines.filter(line => {
    const [, address = '', , state, queues = ''] = line.trim().split(/\s+/);
    return address.endsWith(local) && state === '01' && !queues.endsWith(':00000000');
  }).length;
}

/** Sends the bytes and waits until the kernel has taken them. */
function sendTo(socket: Socket, bytes: Buffer | string): Promise<void> {
  return new Promise(resolve => void socket.write(bytes, () => resolve()));
}

/** The frames that the server read or queued, in that order: `<ping`, `>pong`, `<text "b"`. */
function traced(server: ServerProcess): string[] {
  return server
    .logged()
    .filter(({ event }) => event === 'frame')
    .map(entry => `${entry['way']}${entry['opcode'] ?? ''} ${entry['text'] ?? ''}`.trim());
}

test('a turn handles control frames, then commands, then messages, in whatever order they arrived [5.5.1-7, 5.5.2-3]', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const folder = temporaryFolder();
  const control = join(folder, 'control');
  const options = ['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--control', control];
  const server = await startServerWith([...options, '--trace'], { test: t });
  const talker = await connectRaw(server.port, { path: '/echo' });
  const pinger = await connectRaw(server.port, { path: '/echo' });
  const listener = await connectRaw(server.port, { path: '/broadcast' });
  const commander = connect(control);
  await once(commander, 'connect');
  for (const client of [talker, pinger, listener]) await roundTrip(client);
  const body = JSON.stringify({ text: 'commanded' });
  const head = `Host: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
  // The first line lets the server detect the wire before the turn.
  await sendTo(commander, 'POST /api/broadcast HTTP/1.1\r\n');
  // After two round trips of other clients the server has read that line. Otherwise it could be stopped just before.
  for (const client of [talker, pinger, talker, pinger]) await roundTrip(client);
  const before = traced(server).length;
  await inOneTurn(server, 2, async () => {
    await sendTo(talker.socket, frame(opcode.text, 'said', { key }));
    await sendTo(commander, `${head}\r\n\r\n${body}`);
    await sendTo(pinger.socket, frame(opcode.ping, 'p', { key }));
  });
  await server.untilLogged(({ event, text }) => event === 'frame' && text === 'said');
  const order = traced(server).slice(before);
  const at = (what: string) => order.findIndex(line => line.includes(what));
  assert.ok(at('ping') >= 0 && at('commanded') >= 0 && at('said') >= 0, order.join('\n'));
  assert.ok(at('ping') < at('commanded'), order.join('\n'));
  assert.ok(at('commanded') < at('said'), order.join('\n'));
  for (const { socket } of [talker, pinger, listener]) socket.destroy();
  commander.destroy();
});

test('a message behind a ping waits until the pings of all connections are answered', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(t, '--trace');
  const first = await connectRaw(server.port, { path: '/echo' });
  const second = await connectRaw(server.port, { path: '/echo' });
  for (const client of [first, second]) await roundTrip(client);
  const before = traced(server).length;
  await inOneTurn(server, 2, async () => {
    const both = Buffer.concat([frame(opcode.ping, '1', { key }), frame(opcode.text, 'behind', { key })]);
    await sendTo(first.socket, both);
    await sendTo(second.socket, frame(opcode.ping, '2', { key }));
  });
  await server.untilLogged(({ event, text }) => event === 'frame' && text === 'behind');
  const order = traced(server).slice(before);
  const message = order.findIndex(line => line.includes('behind'));
  const pings = order.flatMap((line, index) => (line.startsWith('<ping') ? [index] : []));
  assert.equal(pings.length, 2, order.join('\n'));
  assert.ok(
    pings.every(ping => ping < message),
    order.join('\n'),
  );
  for (const { socket } of [first, second]) socket.destroy();
});

test('a flood of pings is answered in portions, so that another client’s message need not wait for its end', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const server = await startServerFor(t, '--trace');
  const flooder = await connectRaw(server.port, { path: '/echo' });
  const other = await connectRaw(server.port, { path: '/echo' });
  for (const client of [flooder, other]) await roundTrip(client);
  const before = traced(server).length;
  const count = 16_000;
  const ping = frame(opcode.ping, '', { key });
  await inOneTurn(server, 2, async () => {
    // The kernel takes part of this; the rest follows as the server reads.
    flooder.socket.write(Buffer.alloc(count * ping.length, ping));
    await sendTo(other.socket, frame(opcode.text, 'patient', { key }));
  });
  await server.untilLogged(({ event, text }) => event === 'frame' && text === 'patient');
  const order = traced(server).slice(before);
  const answered = order.slice(
    0,
    order.findIndex(line => line.includes('patient')),
  );
  const pings = answered.filter(line => line.startsWith('<ping')).length;
  t.diagnostic(`${pings} of ${count} pings came before the message`);
  assert.ok(pings < count / 2, `${pings} pings before the message`);
  for (const { socket } of [flooder, other]) socket.destroy();
});
