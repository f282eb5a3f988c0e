import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeCertificate, tlsOptions } from '../../support/certificates.ts';
import { connectLines, connectTerminal, type LineClient } from '../../support/lineClient.ts';
import { loadAll, newFolder } from '../../support/modules.ts';
import { connectRaw, connectTls, exchange } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServerFor, startServerWith } from '../../support/serverProcess.ts';

/** The folder of the examples; this file runs from build/test/modules/. */
const examples = fileURLToPath(new URL('../../../../test/examples', import.meta.url));

/** Sends each line after the answer to the previous one. @returns the answers without line ends */
async function converse(client: LineClient, ...lines: string[]): Promise<string[]> {
  const answers: string[] = [];
  for (const line of lines) {
    client.send(`${line}\r\n`);
    answers.push((await client.line())?.trimEnd() ?? '(end)');
  }
  return answers;
}

async function greeted(server: ServerProcess): Promise<LineClient> {
  const client = await connectLines(server.port);
  assert.equal(await client.line(), '220 pollywog\r');
  return client;
}

test('a listener with ?greet calls the greeting module’s wire at once', async t => {
  const options = ['--control', 'none', '--config', 'none', '--log-format', 'json', '--handlers', examples];
  const server = await startServerWith([...options, '--listen', 'tcp://127.0.0.1:0?greet'], { test: t });
  const ftp = await greeted(server);
  assert.deepEqual(await converse(ftp, 'USER ada', 'PASS secret'), [
    '331 password for ada, please',
    '230 welcome, ada',
  ]);
  ftp.socket.destroy();
});

test('one port speaks FTP, WebSocket, HTTP and the chat at the same time', async t => {
  const server = await startServerFor(t, '--handlers', examples, '--greeting-delay', '100ms');
  const [ftp, chat, echo] = [
    await greeted(server),
    await connectTerminal(server.port, 'ada'),
    await connectRaw(server.port, { path: '/echo' }),
  ];
  assert.deepEqual(await converse(ftp, 'PWD', 'USER ada', 'PASS secret', 'SYST', 'PWD', 'LIST'), [
    '530 log in first',
    '331 password for ada, please',
    '230 welcome, ada',
    '215 UNIX Type: L8',
    '257 "/" is where you are',
    '502 there is no LIST here',
  ]);
  echo.send(frame(opcode.text, 'hello'));
  assert.equal((await echo.nextFrame())?.payload.toString(), 'hello');
  const page = await exchange(server.port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  assert.match(page.toString(), /^HTTP\/1\.1 200 /);
  chat.send('/who\n');
  assert.equal(await chat.line(), '* 1 in lobby: ada');
  assert.deepEqual(await converse(ftp, 'quit'), ['221 goodbye']);
  assert.deepEqual(await ftp.rest(), []);
  await server.untilLogged(({ event, user }) => event === 'ftp ended' && user === 'ada');
  for (const { socket } of [chat, echo]) socket.destroy();
});

test('first bytes select the wire, whether they come in pieces or with several lines at once', async t => {
  const server = await startServerFor(t, '--handlers', examples, '--greeting-delay', '0');
  const client = await connectLines(server.port);
  for (const piece of ['U', 'SER', ' ad', 'a\r', '\nPASS x\r\nPW', 'D\r\nQUIT\r\nNOOP\r\n']) {
    client.send(piece);
    await new Promise(setImmediate);
  }
  assert.deepEqual(await client.rest(), [
    '331 password for ada, please\r',
    '230 welcome, ada\r',
    '257 "/" is where you are\r',
    '221 goodbye\r',
  ]);
});

test('a graceful shutdown calls the wire’s goodbye', async t => {
  const server = await startServerFor(t, '--handlers', examples, '--greeting-delay', '50ms');
  const client = await greeted(server);
  server.child.kill('SIGTERM');
  assert.deepEqual(await client.rest(), ['421 the server is going away\r']);
  client.socket.destroy();
  assert.equal(await server.exited, 0);
});

/** A wire that claims every connection it is asked about, and prints its input. */
const greedy = `export const wire = {
  matches: () => true,
  receive(connection, bytes) {
    if (bytes[0] === 0x21) throw new Error('bang');
    if (bytes[0] === 0x3f) return 0;
    if (bytes[0] === 0x25) return Promise.resolve();
    connection.send('got ' + bytes.toString('hex') + '\\n');
  },
};`;

test('a wire cannot claim HTTP, WebSocket and packets, but what HTTP would reject', async t => {
  const folder = newFolder({ 'greedy.mjs': greedy });
  const server = await startServerFor(t, '--handlers', folder.path);
  const client = await connectRaw(server.port, { path: '/echo' });
  client.destroy();
  for (const method of ['GET', 'POST', 'OPTIONS']) {
    const request = `${method} /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`;
    assert.match((await exchange(server.port, request)).toString(), /^HTTP\/1\.1 \d/);
  }
  // A packet with size 0.
  const packet = Buffer.concat([Buffer.from('Ej8@'), Buffer.alloc(20)]);
  assert.equal((await exchange(server.port, packet)).toString('latin1', 0, 4), 'Ej8@');
  for (const bytes of [Buffer.from([0x10, 0x00, 0xff]), Buffer.from('BREW / HTTP/1.1\r\n')]) {
    const other = await connectLines(server.port);
    other.send(bytes);
    assert.equal(await other.line(), `got ${bytes.toString('hex')}`);
    other.socket.destroy();
  }
});

test('a wire cannot claim TLS, but gets the plain text inside it', async t => {
  const folder = newFolder({ 'greedy.mjs': greedy });
  const identity = makeCertificate('localhost');
  const server = await startServerFor(t, '--handlers', folder.path, ...tlsOptions(identity));
  const client = await connectRaw(server.port, { path: '/echo', tls: {} });
  client.destroy();
  for (const bytes of [Buffer.from([0x10, 0x00, 0xff]), Buffer.from('BREW / HTTP/1.1\r\n')]) {
    const other = await connectTls(server.port);
    other.write(bytes);
    assert.equal(String((await once(other, 'data'))[0]), `got ${bytes.toString('hex')}\n`);
    other.destroy();
  }
  // Without a certificate TLS is refused.
  const plain = await startServerFor(t, '--handlers', folder.path);
  assert.equal((await exchange(plain.port, Buffer.of(0x16, 3, 1))).toString('hex'), '15030100020228');
});

test('a wire that throws, returns a promise or never consumes its input loses that connection only', async t => {
  const folder = newFolder({ 'greedy.mjs': greedy });
  const server = await startServerFor(t, '--handlers', folder.path);
  const other = await connectLines(server.port);
  for (const [bytes, why] of [
    ['!', 'bang'],
    ['%', 'not \\[object Promise\\]'],
    [`?${'x'.repeat(100_000)}`, 'receive left more than 65536 bytes'],
  ] as const) {
    const client = await connectLines(server.port);
    client.send(bytes);
    assert.deepEqual(await client.rest(), []);
    client.socket.destroy();
    await server.untilLogged(
      ({ event, stack }) => event === 'wire threw' && new RegExp(why).test(String(stack)),
    );
  }
  other.send('ok');
  assert.equal(await other.line(), 'got 6f6b');
  other.socket.destroy();
});

test('a second module that greets is refused', async () => {
  const wire = 'export const wire = { greet() {}, receive() {} };';
  const folder = newFolder({ 'a.mjs': wire, 'b.mjs': wire });
  const at = (name: string) => join(folder.path, name);
  await assert.rejects(loadAll(folder), {
    message: `${at('b.mjs')} is not loaded: ${at('a.mjs')} already has a greet function, and only one module may; remove one`,
  });
});

test('a new version of a wire takes over its connections, and is rolled back if it throws', async t => {
  const version = (name: string, more = '') => `export const wire = {
    matches: bytes => bytes[0] === 0x7e,
    receive(connection) { connection.data = (connection.data ?? 0) + 1; connection.send('${name} ' + connection.data + '\\n'); ${more} },
  };`;
  const folder = newFolder({ 'count.mjs': version('one') });
  const server = await startServerFor(t, '--handlers', folder.path, '--watch');
  const client = await connectLines(server.port);
  assert.deepEqual(await converse(client, '~'), ['one 1']);
  folder.write('count.mjs', version('two'));
  await server.untilLogged(({ event }) => event === 'handler swapped');
  assert.deepEqual(await converse(client, '~'), ['two 2']);
  folder.write('count.mjs', version('three', 'throw new Error();'));
  await server.untilLogged(({ event, version: number }) => event === 'handler swapped' && number === 3);
  assert.deepEqual(await converse(client, '~', '~'), ['two 4', 'two 5']);
  await server.untilLogged(({ event }) => event === 'handler rolled back');
  client.socket.destroy();
});
