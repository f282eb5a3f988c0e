/** Two servers with different options in one process: what one does, the other does not notice. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { flush } from '../../src/core/flush.ts';
import { onData, resetInputArena } from '../../src/core/poll.ts';
import { newServer } from '../../src/core/server.ts';
import { serverLoop } from '../../src/core/serverLoop.ts';
import { drainServer, stopServer } from '../../src/core/shutdown.ts';
import { openChannels } from '../../src/handlers/channels/channels.ts';
import { newChat } from '../../src/handlers/chat/chat.ts';
import { addHandlers, handlerNames } from '../../src/handlers/handlers.ts';
import { configureLog } from '../../src/log/log.ts';
import { openListener } from '../../src/net/listeners.ts';
import { openTls } from '../../src/net/tls.ts';
import { readConfiguration } from '../../src/options/configuration.ts';
import type { Server } from '../../src/records/records.ts';
import { newDetectWire } from '../../src/wires/detectWire.ts';
import { newHttpWire } from '../../src/wires/http.ts';
import { newPollRoute } from '../../src/wires/polling/pollRoute.ts';
import { newFakeServer, openFakeConnection, sendText } from '../support/fakeSocket.ts';
import { openPolled, pollMany, post } from '../support/pollClient.ts';
import { newRandom } from '../support/random.ts';

configureLog('error', 'text');

interface Running {
  readonly server: Server;
  readonly port: number;
  readonly over: Promise<void>;
}

async function start(...options: string[]): Promise<Running> {
  const server = newServer(readConfiguration(options, {}, handlerNames));
  const channels = await openChannels(server);
  await addHandlers(server, newChat(server, channels, ['*']), channels);
  const http = newHttpWire(server, [newPollRoute(server)]);
  const greeting = { wire: () => undefined, isImmediate: false };
  const firstWire = newDetectWire([{ wires: [http] }], http, greeting, await openTls(server));
  const { port } = await openListener(server, { transport: 'tcp', host: '127.0.0.1', port: 0 }, firstWire);
  return { server, port: port!, over: serverLoop(server, () => {}) };
}

async function open({ port }: Running, path: string): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${port}/${path}`, { perMessageDeflate: true });
  await once(client, 'open');
  return client;
}

async function next(client: WebSocket): Promise<Buffer> {
  const [data] = (await once(client, 'message')) as [Buffer];
  return data;
}

/** Sends messages of all sizes, and compares each echo byte by byte. */
async function echoMany(client: WebSocket, count: number, longest: number, seed: number): Promise<void> {
  const random = newRandom(seed);
  for (let i = 0; i < count; i++) {
    const sent = random.bytes(random.below(random.oneIn(8) ? longest : 200));
    const echo = next(client);
    client.send(sent);
    assert.ok((await echo).equals(sent), `echo ${i} of ${sent.length} bytes`);
  }
}

/** Everyone gets what one of them sends, in order, and nothing else. */
async function broadcastMany(clients: readonly WebSocket[], name: string, count: number): Promise<void> {
  const [sender] = clients as [WebSocket];
  const heard = clients.map(() => [] as string[]);
  const expected = Array.from({ length: count }, (_, i) => `${name} ${i}`);
  const all = clients.map(
    (client, at) =>
      new Promise<void>(resolve => {
        const listen = (data: Buffer) => {
          if (heard[at]!.push(data.toString()) < count) return;
          client.off('message', listen);
          resolve();
        };
        client.on('message', listen);
      }),
  );
  for (const [at, text] of expected.entries()) {
    sender.send(text);
    // Some in bursts, some by themselves.
    if (at % 3 === 0) await next(sender);
  }
  await Promise.all(all);
  for (const texts of heard) assert.deepEqual(texts, expected);
}

async function postMany(port: number, session: string, texts: readonly string[]): Promise<void> {
  for (const text of texts) await post(port, session, text);
}

const longestOf = { frog: 200_000, newt: 1000 };

async function load(name: 'frog' | 'newt', running: Running, echoes: WebSocket[], members: WebSocket[]) {
  const session = await openPolled(running.port, 'echo');
  const texts = Array.from({ length: 20 }, (_, i) => `${name} ${i}`);
  await Promise.all([
    ...echoes.map((client, at) => echoMany(client, 30, longestOf[name], at + 1)),
    broadcastMany(members, name, 60),
    postMany(running.port, session, texts),
  ]);
  const { messages } = await pollMany(running.port, session, texts.length);
  assert.deepEqual(
    messages.map(({ text }) => text),
    texts,
  );
}

const clientsOf = (running: Running, path: string) =>
  Promise.all(Array.from({ length: 20 }, () => open(running, path)));

test('two servers with different options share a process under load, and one shuts down unnoticed by the other', {
  timeout: 120_000,
}, async t => {
  const frog = await start();
  const newt = await start('--max-message', '1KB', '--compress', 'off');
  t.after(() => {
    for (const { server } of [frog, newt]) stopServer(server, 'the test');
  });
  const [frogEchoes, frogMembers] = [await clientsOf(frog, 'echo'), await clientsOf(frog, 'broadcast')];
  const [newtEchoes, newtMembers] = [await clientsOf(newt, 'echo'), await clientsOf(newt, 'broadcast')];
  assert.equal(frog.server.connections, 40);
  assert.equal(newt.server.connections, 40);
  assert.equal(frogEchoes[0]!.extensions, 'permessage-deflate');
  assert.equal(newtEchoes[0]!.extensions, '');

  await Promise.all([
    load('frog', frog, frogEchoes, frogMembers),
    load('newt', newt, newtEchoes, newtMembers),
  ]);

  // Each has its own limits: what is too large for one is not for the other.
  const [big] = newtEchoes.splice(0, 1) as [WebSocket];
  const tooBig = once(big, 'close');
  big.send(Buffer.alloc(1025));
  assert.equal((await tooBig)[0], 1009);
  const bye = [...newtEchoes, ...newtMembers].map(client => once(client, 'close'));
  const meanwhile = load('frog', frog, frogEchoes, frogMembers);
  drainServer(newt.server, 'the test');
  for (const closed of await Promise.all(bye)) assert.equal(closed[0], 1001);
  await newt.over;
  await meanwhile;
  assert.equal(newt.server.connections, 0);
  assert.ok([...frogEchoes, ...frogMembers].every(client => client.readyState === WebSocket.OPEN));
  await load('frog', frog, frogEchoes, frogMembers);

  for (const client of [...frogEchoes, ...frogMembers]) client.close();
  drainServer(frog.server, 'the test');
  await frog.over;
  assert.equal(frog.server.arena.held + newt.server.arena.held, 0, 'no output is left behind');
});

test('input of one server stays in the arena while another one resets it', () => {
  const [frog, newt] = [newFakeServer(), newFakeServer()];
  const [croak, chirp] = [openFakeConnection(frog, undefined), openFakeConnection(newt, undefined)];
  onData(croak.connection, Buffer.from('croak'), 5);
  onData(chirp.connection, Buffer.from('chirp'), 5);
  resetInputArena(frog);
  onData(openFakeConnection(frog, undefined).connection, Buffer.from('XXXXXXXXXX'), 10);
  const { input, inputStart, inputEnd } = chirp.connection;
  assert.equal(input!.toString('latin1', inputStart, inputEnd), 'chirp');
  resetInputArena(newt);
  resetInputArena(frog);
});

test('a frame that one server has queued stays in the arena while another one resets it', () => {
  const [frog, newt] = [newFakeServer(), newFakeServer()];
  const [croak, chirp] = [openFakeConnection(frog, undefined), openFakeConnection(newt, undefined)];
  sendText(croak.connection, 'croak');
  sendText(chirp.connection, 'chirp');
  flush(frog);
  sendText(croak.connection, 'XXXXXXXXXX');
  flush(newt);
  assert.equal(chirp.socket.written().toString('latin1'), '\x81\x05chirp');
  flush(frog);
});
