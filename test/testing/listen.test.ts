/** `listen`: a server in the process of a test, with a client from the same package. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect } from '../../src/client/index.ts';
import { commands } from '../../src/commands/commands.ts';
import { listen } from '../../src/index.ts';
import { serverOptions } from '../../src/options/table.ts';
import type { ListenOptions, TestServer } from '../../src/testing/interface.ts';
import { makeCertificate } from '../support/certificates.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const quiz = {
  state: () => ({ asked: 0 }),
  message(
    connection: { send(text: string): void },
    message: { text(): string },
    server: { state: { asked: number } },
  ) {
    server.state.asked++;
    connection.send(message.text() === '42' ? `right, after ${server.state.asked}` : 'wrong');
  },
};

async function open(t: TestContext, options: ListenOptions = {}): Promise<TestServer> {
  const server = await listen({ timeouts: 'test', ...options });
  t.after(() => server.close());
  return server;
}

test('a handler in process answers messages, and a reset renews its state', async t => {
  const server = await open(t, { port: 0, handlers: { quiz }, maxMessage: '1MB' });
  assert.match(server.url, /^ws:\/\/127\.0\.0\.1:\d+$/);
  assert.ok(server.url.endsWith(`:${server.port}`));
  const answer = async () => {
    const client = await connect(`${server.url}/quiz`);
    await client.send('41');
    await client.send('42');
    assert.equal(await client.next(), 'wrong');
    return [await client.next(), client] as const;
  };
  const [first, client] = await answer();
  assert.equal(first, 'right, after 2');
  assert.equal((await answer())[0], 'right, after 4');
  await server.reset();
  assert.deepEqual(await client.closed, { code: 1001, reason: 'the server was reset' });
  assert.deepEqual(server.connections, []);
  assert.equal((await answer())[0], 'right, after 2');
});

test('a reset forgets channels, options that were set, counters and closed connections', async t => {
  const server = await open(t, { maxMessage: 5 });
  const { commands } = server;
  const client = await connect(`${server.url}/echo`);
  await client.send('much too long');
  assert.equal((await client.closed).code, 1009);
  const { id } = await server.waitFor(({ event }) => event === 'closed');
  assert.equal((await commands.why(Number(id))).code, 1009);
  await commands.publish('orders', 'x');
  await commands.set('max-message', '1KB');
  await commands.trace('all');
  await server.reset();
  await assert.rejects(commands.why(Number(id)), /there is no record of a connection/);
  assert.deepEqual(await commands.history('orders'), []);
  assert.deepEqual(await commands.channels(), []);
  assert.equal((await commands.get('max-message'))[0].value, '5B');
  assert.equal((await commands.info()).counters.accepted, 0);
  // With the trace off, this connection has no event `frame`.
  const another = await connect(`${server.url}/echo`);
  await another.send('x');
  await another.close();
  const events = [];
  await server.close();
  for await (const { event } of server.events) events.push(event);
  assert.ok(events.includes('opened') && !events.includes('frame'), String(events));
});

test('connections are live views: a test can send and close', async t => {
  const server = await open(t);
  const client = await connect(`${server.url}/echo`);
  const [connection, ...others] = server.connections;
  assert.deepEqual(others, []);
  assert.equal(connection, server.connections[0], 'the same object each time');
  assert.deepEqual([connection!.handler, connection!.isOpen, connection!.user], ['echo', true, undefined]);
  connection!.send('from the test');
  connection!.send(Buffer.of(1, 2));
  assert.equal(await client.next(), 'from the test');
  assert.deepEqual(await client.next(), Buffer.of(1, 2));
  assert.throws(() => connection!.close(1006), /close code 1006 is not allowed/);
  connection!.close(4001, 'enough');
  assert.deepEqual(await client.closed, { code: 4001, reason: 'enough' });
  await server.waitFor(({ event, id }) => event === 'closed' && id === connection!.id);
  assert.deepEqual([connection!.isOpen, connection!.handler, server.connections.length], [false, 'echo', 0]);
  connection!.send('to nobody');
  connection!.close();
});

test('a connection shows its frames in both directions, unmasked, and only its own', async t => {
  const server = await open(t);
  const [client, other] = [await connect(`${server.url}/echo`), await connect(`${server.url}/echo`)];
  const [connection] = server.connections;
  await other.send('not mine');
  await other.next();
  const long = 'x'.repeat(1500);
  for (const message of ['hello', long]) {
    await client.send(message);
    assert.equal(await client.next(), message);
  }
  await client.ping('are you there?');
  await client.close(4000, 'bye');
  const shown = connection!.frames.map(
    ({ direction, opcode, length, payload }) => `${direction} ${opcode} ${length} ${payload.length}`,
  );
  assert.match(shown[0]!, /^> -1 \d+ \d+$/, 'the response of the handshake');
  assert.deepEqual(shown.slice(1, 3), ['< 1 5 5', '> 1 5 5']);
  assert.deepEqual(shown.slice(-4), ['< 9 14 14', '> 10 14 14', '< 8 5 5', '> 8 2 2']);
  assert.equal(connection!.frames[1]!.payload.toString(), 'hello');
  const [, , , compressed] = connection!.frames;
  assert.deepEqual([compressed!.isFinal, compressed!.isCompressed], [true, true]);
  await server.reset();
  assert.deepEqual(connection!.frames, []);
});

test('a test gives faults to a connection of any handler', async t => {
  const server = await open(t);
  const client = await connect(`${server.url}/echo`);
  const [connection] = server.connections;
  assert.throws(() => connection!.fault('stal'), /did you mean stall\?/);
  assert.deepEqual(connection!.fault('stall'), ['stall']);
  assert.deepEqual(connection!.fault('masked', 'delay=1ms'), ['masked', 'delay=1ms']);
  await client.send('x');
  assert.equal((await client.closed).code, 1002);
  await server.waitFor(({ event }) => event === 'closed');
  assert.deepEqual(connection!.fault('stall'), []);
});

test('every command of the table is a method with the words of its command line as arguments', async t => {
  const server = await open(t, {
    handlers: { sums: { message() {}, command: (words: readonly string[]) => words.length } },
  });
  assert.deepEqual(Object.keys(server.commands).toSorted(), [...commands.keys()].toSorted());
  assert.deepEqual([...namesInInterface(), 'watch'].toSorted(), [...commands.keys()].toSorted());
  for await (const { event } of server.commands.watch()) if (event === 'listening') break;
  for (const name of ['list', 'rooms', 'info', 'metrics', 'channels', 'get', 'reload'] as const)
    assert.equal(typeof (await server.commands[name]()), 'object', name);
  const published = await server.commands.publish('orders', Buffer.of(1, 2), { event: 'new', ttl: 60 });
  assert.equal(published.sent, 0);
  const [kept] = await server.commands.history('orders', 1);
  assert.deepEqual([kept.event, kept.base64], ['new', 'AQI=']);
  assert.equal(await server.commands.call('sums', 'a', 'b c', 'd'), 3);
  await assert.rejects(server.commands.send(99, 'x'), { message: /there is no connection 99/ });
  await assert.rejects(server.commands.send(99), { message: /missing parameter text/ });
  await assert.rejects(server.commands.list('x'), { message: /unexpected argument "x"; usage: list/ });
  await assert.rejects(server.commands.publish('orders', 'x', { evnt: 'y' }), {
    message: /did you mean event\?/,
  });
  await server.close();
  await assert.rejects(server.commands.list(), { message: 'the server has closed' });
});

/** The type `CommandName` as a list. It is written by hand, because editors then show the names. */
function namesInInterface(): string[] {
  const text = readFileSync(new URL('../../../src/testing/interface.ts', import.meta.url), 'utf8');
  const [, names = ''] = /export type CommandName =(.*?);/s.exec(text) ?? [];
  return [...names.matchAll(/'([a-z]+)'/g)].map(([, name = '']) => name).toSorted();
}

test('an option that is unknown, invalid or only for the program is refused, with a remedy', async () => {
  const refusal = async (options: object) =>
    listen(options as ListenOptions).then(
      () => 'no error',
      (error: Error) => error.message,
    );
  assert.equal(await refusal({ maxMesage: 1 }), 'unknown option "maxMesage"; did you mean maxMessage?');
  assert.equal(await refusal({ 'max-message': 1 }), 'unknown option "max-message"; did you mean maxMessage?');
  assert.equal(
    await refusal({ maxMessage: 'big' }),
    'maxMessage must be a size such as 16MB or 512KB, not "big"',
  );
  assert.equal(await refusal({ daemon: true }), 'only the program pollywog has the option daemon; remove it');
  assert.equal(await refusal({ timeouts: 'short' }), 'timeouts must be the word test, not "short"');
  assert.match(
    await refusal({ handlers: { echo: quiz } }),
    /^handlers\.echo is not loaded: the name echo is already used/,
  );
  assert.match(
    await refusal({ handlers: { quiz: {} } }),
    /^handlers\.quiz is not loaded: it exports neither message/,
  );
  assert.match(await refusal({ defaultHandler: 'quiz' }), /^--default-handler must be one of echo, /);
  assert.match(await refusal({ listen: 'unix:/no/such/folder/x' }), /there is no such folder/);
});

test('listen reads every other option of the program, by the name in its type', async t => {
  const forProgram = ['help', 'version', 'config', 'daemon', 'pidFile', 'stdin'];
  const names = Object.keys(serverOptions).filter(name => !forProgram.includes(name));
  assert.ok(names.length > 80);
  const options = Object.fromEntries(names.map(name => [name, undefined]));
  const server = await open(t, { ...options, pingInterval: 7, noSelf: true, origin: ['same', 'null'] });
  const values = new Map<string, string>();
  for (const { name, value } of await server.commands.get()) values.set(name, value);
  assert.deepEqual(
    ['ping-interval', 'pong-timeout', 'no-self', 'origin', 'control'].map(name => values.get(name)),
    ['7s', '500ms', 'true', 'same,null', 'none'],
  );
});

test('handlers may be the folder of modules, and a server may listen on a Unix socket only', async t => {
  const folder = temporaryFolder();
  const path = join(folder, 'server.sock');
  const server = await open(t, { listen: `unix:${path}` });
  assert.deepEqual([server.url, server.port], [`unix:${path}`, 0]);
  const client = await connect(server.url);
  await client.send('over a file');
  assert.equal(await client.next(), 'over a file');
  await server.close();
  assert.deepEqual(readdirSync(folder), []);
  const empty = await open(t, { handlers: folder });
  assert.deepEqual((await empty.commands.info()).modules, []);
});

test('a server writes nothing, installs no handler for signals or errors, and opens only files that options name', () => {
  const script = `
    import { connect } from ${JSON.stringify(new URL('../../src/client/index.js', import.meta.url).href)};
    import { listen } from ${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)};
    const names = () => [...process.eventNames()].map(String).sort().join();
    const before = names();
    const server = await listen({ handlers: { quiz: { message() { throw new Error('broken'); } } } });
    const client = await connect(server.url + '/quiz');
    await client.send('x');
    await server.waitFor(({ event }) => event === 'handler threw');
    await server.close();
    if (names() !== before) throw new Error(names());
  `;
  const folder = temporaryFolder();
  const env = { PATH: process.env['PATH'], HOME: folder, POLLYWOG_PORT: 'none', LISTEN_FDS: '1' };
  const words = ['--input-type=module', '--eval', script];
  const output = execFileSync(process.execPath, words, {
    cwd: folder,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  assert.equal(output, '');
  assert.deepEqual(readdirSync(folder), []);
});

test('unref lets the process exit while the server and its connections are open', () => {
  const script = `
    import { connect } from ${JSON.stringify(new URL('../../src/client/index.js', import.meta.url).href)};
    import { listen } from ${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)};
    const server = (await listen()).unref();
    const other = await listen({ sockets: 'stream' });
    for (const { url } of [server, other.unref()]) {
      const client = await connect(url + '/echo');
      await client.send('x');
      console.log(await client.next());
      client.destroy();
      await connect(url + '/echo').then(client => client.unref());
    }
    process.on('exit', () => console.log('end'));
  `;
  const words = ['--input-type=module', '--eval', script];
  const output = execFileSync(process.execPath, words, { encoding: 'utf8', timeout: 20_000 });
  assert.equal(output, 'x\nx\nend\n');
});

test('with a certificate the URL is wss, and the client trusts the given authority', async t => {
  const { cert, key } = makeCertificate('localhost', { names: ['localhost'] });
  const server = await open(t, { tlsCert: cert, tlsKey: key, host: 'localhost' });
  const url = server.url.replace(/\/\/.*:/, '//localhost:');
  assert.match(url, /^wss:/);
  const client = await connect(`${url}/echo`, { ca: cert });
  await client.send('secret');
  assert.equal(await client.next(), 'secret');
  assert.equal(server.connections[0]!.frames.at(-1)!.payload.toString(), 'secret');
  await server.reset();
  assert.equal((await client.closed).code, 1001);
});

test('two servers in a process keep their connections, channels and events apart', async t => {
  const [frog, newt] = [await open(t), await open(t, { maxMessage: 5 })];
  const client = await connect(`${newt.url}/echo`);
  await frog.commands.publish('pond', 'frogs only');
  await client.send('too long');
  assert.equal((await client.closed).code, 1009);
  await newt.waitFor(({ event }) => event === 'closed');
  assert.deepEqual(await newt.commands.channels(), []);
  await Promise.all([frog.close(), newt.close()]);
  const names = async (server: TestServer) => {
    const found = [];
    for await (const { event } of server.events) found.push(event);
    return found;
  };
  assert.ok((await names(newt)).includes('opened'));
  assert.ok(!(await names(frog)).includes('opened'));
});

test('a server that has closed, or closes, refuses a reset', async () => {
  const server = await listen();
  const closed = server.close();
  await assert.rejects(server.reset(), { message: 'the server is closing, and cannot be reset' });
  await closed;
  await server.close();
  await assert.rejects(server.reset(), { message: 'the server is closing, and cannot be reset' });
});

test('the command stop ends the server like close()', async () => {
  const server = await listen();
  const client = await connect(server.url);
  assert.deepEqual(await server.commands.stop(), { stopping: 1 });
  assert.equal((await client.closed).code, 1001);
  await server.close();
});

test('await using closes the server', async () => {
  const server = await listen();
  const url = server.url;
  await server[Symbol.asyncDispose]();
  await assert.rejects(connect(url), /nothing listens at/);
});

test('the log goes to the given file, with the events of this server only', async t => {
  const folder = temporaryFolder();
  const logFile = join(folder, 'server.log');
  const server = await open(t, { logFile, logLevel: 'debug', logFormat: 'json' });
  const other = await open(t);
  await (await connect(`${other.url}/echo`)).close();
  const client = await connect(`${server.url}/echo`);
  await client.close();
  await server.close();
  const lines = readFileSync(logFile, 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { event: string });
  assert.equal(lines.filter(({ event }) => event === 'connected').length, 1);
});
