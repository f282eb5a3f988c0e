import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { notifyTurnEnd } from '../../../src/core/processData.ts';
import { callHandler } from '../../../src/handlers/modules/modules.ts';
import { configureLog } from '../../../src/log/log.ts';
import { connectionMemory } from '../../../src/protocol/limits.ts';
import { websocket } from '../../../src/wires/websocket.ts';
import { connect, loadAll, newFolder, settle } from '../../support/modules.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor } from '../../support/serverProcess.ts';

configureLog('error', 'text');

/** A server with one module, `mod`. */
async function load(source: string, ...options: string[]) {
  return loadAll(newFolder({ 'mod.mjs': source }), ...options);
}

test('the request of a connection counts towards --max-memory, because the module can read it later', async () => {
  const server = await load('export function message() {}');
  const headers = new Map([['cookie', 'c'.repeat(12_000)]]);
  const { connection } = connect(server, 'mod', { headers });
  assert.ok(connection.held >= connectionMemory + 12_000, `${connection.held}`);
});

describe('a message', () => {
  test('can be read as text or as bytes, or be left unread', async () => {
    const server = await load(`export function message(connection, message) {
        const { isText, size } = message;
        connection.send([isText, size, message.text(), message.copy().toString('hex'), message.bytes().length].join());
        connection.send(message);
        connection.send(message.copy());
      }`);
    const client = connect(server, 'mod');
    client.say('hé', Buffer.from([0xc3, 0xa9]));
    assert.deepEqual(client.heard(), [
      'true,3,hé,68c3a9,3',
      'hé',
      '<68c3a9>',
      'false,2,é,c3a9,2',
      '<c3a9>',
      '<c3a9>',
    ]);
  });

  test('expires after the call, while its copies stay valid', async () => {
    const server = await load(
      `let kept;
      export function message(connection, message) {
        if (kept === undefined) kept = { message, copy: message.copy() };
        else connection.send(kept.copy.toString());
        if (message.text() === 'third') kept.message.text();
      }`,
      '--rollback-window',
      '0',
    );
    const client = connect(server, 'mod');
    client.say('first', 'second', 'third');
    const [second, third, close] = client.heard();
    assert.deepEqual([second, third], ['first', 'first']);
    // The message object is reused: it belongs to the third message now, or to none.
    assert.equal(close, undefined);
    const other = connect(server, 'mod');
    server.handlers
      .get('mod')
      ?.message(other.connection, { isText: true, bytes: Buffer.from('x'), start: 0, end: 1 });
    assert.deepEqual(other.heard(), ['first']);
  });

  test('can be a string, bytes or another message, and nothing else', async () => {
    const server = await load('export function message(connection) { connection.send({}); }');
    const client = connect(server, 'mod');
    client.say('x');
    assert.deepEqual(client.heard(), ['close 1011 internal error']);
  });
});

describe('a connection', () => {
  test('has its address, path, query, headers and subprotocol', async () => {
    const server = await load(`export function opened(connection) {
        const { id, address, path, query, subprotocol, headers, isOpen, data } = connection;
        connection.send(JSON.stringify([id, address, path, query, subprotocol, headers.get('x-who'), isOpen, typeof data]));
      }
      export function message() {}`);
    const headers = new Map([
      ['x-who', 'ada'],
      ['sec-websocket-protocol', 'echo, mod'],
    ]);
    const client = connect(server, 'mod', { path: '/mod/a%20b', query: 'c=d', headers });
    assert.deepEqual(
      client.heard().map(text => JSON.parse(text)),
      [[0, '127.0.0.1:1', '/mod/a%20b', 'c=d', 'mod', 'ada', true, 'undefined']],
    );
    const plain = JSON.parse(connect(server, 'mod').heard()[0] ?? '');
    assert.deepEqual([plain[0], plain[4]], [1, null]);
  });

  test('closes with a code and a reason, and refuses codes that a module may not use [7.4.1-4]', async () => {
    const server = await load(`export function message(connection, message) {
        const [code, reason] = message.text().split(' ');
        connection.close(code === '' ? undefined : Number(code), reason);
        connection.send('unheard');
      }`);
    for (const [said, heard] of [
      ['', 'close 1000 '],
      ['3001 bye', 'close 3001 bye'],
      ['1006 bye', 'close 1011 internal error'],
      ['1011', 'close 1011 internal error'],
      ['NaN', 'close 1011 internal error'],
    ] as const) {
      const client = connect(server, 'mod');
      client.say(said);
      assert.deepEqual(client.heard(), [heard]);
    }
  });

  test('still has its data in `closed`, where sending has no effect [7.1.5-b]', async () => {
    const server =
      await load(`export function opened(connection) { connection.data = 'mine'; connection.join('all'); }
      export function message() {}
      export function closed(connection, code, reason, server) {
        server.state = [connection.data, connection.isOpen, code, reason, server.members('all')];
        connection.send('unheard');
      }
      export function command(words, server) { return [server.state, server.connections.size, server.members('all')]; }`);
    const client = connect(server, 'mod');
    websocket.onEnd(client.connection, 'ECONNRESET');
    assert.deepEqual(await callHandler(server, 'mod', []), [['mine', false, 1006, 'ECONNRESET', 1], 0, 0]);
    assert.deepEqual(client.heard(), []);
  });

  test('is closed if its handler throws, and no other connection is', async () => {
    const server = await load(
      'export function message(connection, message) { if (message.size > 1) throw 1; connection.send(message); }',
    );
    const [one, two] = [connect(server, 'mod'), connect(server, 'mod')];
    one.say('no');
    two.say('y');
    assert.deepEqual([one.heard(), two.heard()], [['close 1011 internal error'], ['y']]);
  });

  test('is closed if it does not read what it is sent unasked', async () => {
    const server = await load(
      `export function message(connection, message, server) {
        for (const other of server.connections) if (other !== connection) other.send('x'.repeat(600));
        connection.send('done');
      }`,
      '--max-buffered',
      '1KB',
    );
    const [speaker, slow] = [connect(server, 'mod'), connect(server, 'mod')];
    (slow.connection.socket as unknown as { isBusy: boolean }).isBusy = true;
    speaker.say('1', '2', '3', '4');
    assert.equal(slow.heard().length, 2);
    assert.equal(slow.connection.isSlowConsumer, true);
    assert.equal(speaker.heard().length, 4);
  });
});

test('publish reaches every member of a group, or all but the sender', async () => {
  const server = await load(
    `export function message(connection, message, server) {
      const [verb, group] = message.text().split(' ');
      if (verb === 'join') connection.join(group);
      else if (verb === 'leave') connection.leave(group);
      else if (verb === 'all') server.publish(group, message);
      else if (verb === 'others') server.publish(group, message.copy(), connection);
      else connection.send(String(server.members(group)));
    }`,
    '--rollback-window',
    '0',
  );
  const { finishFanouts } = await import('../../../src/core/fanout.ts');
  const [a, b, c] = [connect(server, 'mod'), connect(server, 'mod'), connect(server, 'mod')];
  a.say('join g', 'join g');
  b.say('join g');
  c.say('join h');
  a.say('all g', 'others g', 'count g', 'count nobody', 'all nobody');
  finishFanouts(server);
  const other = `<${Buffer.from('others g').toString('hex')}>`;
  assert.deepEqual([a.heard(), b.heard(), c.heard()], [['all g', '2', '0'], ['all g', other], []]);
  b.say('leave g', 'leave g', 'leave never');
  websocket.onEnd(a.connection, undefined);
  c.say('count g');
  assert.deepEqual(c.heard(), ['0']);
});

describe('a command', () => {
  const source = `export const names = ['one', 'two'];
    export function message() {}
    export async function command([word, ...rest], server) {
      if (word === 'throw') throw new Error('as you wish');
      if (word === 'never') await new Promise(() => {});
      return { word, rest };
    }`;

  test('is answered under each of the handler’s names', async () => {
    const server = await load(source);
    for (const name of ['one', 'two', 'mod']) {
      assert.deepEqual(await callHandler(server, name, ['a', 'b', 'c']), { word: 'a', rest: ['b', 'c'] });
    }
  });

  test('fails with a sentence that says why', async () => {
    const folder = newFolder({ 'mod.mjs': source, 'dumb.mjs': 'export function message() {}' });
    const server = await loadAll(folder, '--handler-timeout', '10ms');
    const refused = (name: string, word: string, message: string) =>
      assert.rejects(callHandler(server, name, [word]), { message });
    await refused('nobody', '', 'no module nobody; the modules are dumb, mod');
    await refused('dumb', '', 'dumb has no command function; export one');
    await refused('mod', 'throw', 'mod: Error: as you wish');
    await refused('mod', 'never', 'mod: Error: no answer within 0.01 s');
  });
});

test('ticks repeat at their interval, never overlap, and go on after one throws', async () => {
  const server = await load(`export default {
      tickEvery: 1,
      state: () => ({ ticks: 0, atOnce: 0, most: 0 }),
      async tick({ state }) {
        state.most = Math.max(state.most, ++state.atOnce);
        await new Promise(resolve => setTimeout(resolve, 5));
        state.atOnce--;
        if (++state.ticks === 2) throw new Error('in a tick');
      },
      message() {},
      command: (_, { state }) => state,
    };`);
  const ticks = async () => (await callHandler(server, 'mod', [])) as { ticks: number; most: number };
  while ((await ticks()).ticks < 4) {
    notifyTurnEnd(server);
    await new Promise(resolve => setTimeout(resolve, 1));
  }
  assert.equal((await ticks()).most, 1);
});

test('each log line has the name of its module, and no value can forge a line or a field', async t => {
  const folder = newFolder({
    'mod.mjs': `export function message(connection, message, { log }) {
      log.warn('said\\nerror something', { text: message.text(), handler: 'forged', level: 'error', 'a b': 1, odd: { toString: () => 'odd' } });
      connection.send('done');
    }`,
  });
  const server = await startServerFor(t, '--handlers', folder.path);
  const client = await connectRaw(server.port, { path: '/mod' });
  client.send(frame(opcode.text, 'a\nb'));
  await client.nextFrame();
  const line = await server.untilLogged(({ level }) => level === 'warn');
  assert.deepEqual(
    { ...line, time: '' },
    { time: '', level: 'warn', event: 'said\\nerror something', handler: 'mod', text: 'a\nb', odd: 'odd' },
  );
});

test('a module that blocks the loop is logged with the time it took', async t => {
  const folder = newFolder({
    'busy.mjs': `export function message(connection, message) {
      const end = performance.now() + Number(message.text());
      while (performance.now() < end);
      connection.send(message);
    }`,
    'quick.mjs': 'export function message(connection, message) { connection.send(message); }',
  });
  const server = await startServerFor(t, '--handlers', folder.path, '--slow-handler', '40ms');
  const [quick, busy] = [
    await connectRaw(server.port, { path: '/quick' }),
    await connectRaw(server.port, { path: '/busy' }),
  ];
  for (const client of [quick, busy]) {
    client.send(frame(opcode.text, '60'));
    await client.nextFrame();
  }
  const line = await server.untilLogged(({ event }) => event === 'slow handler');
  assert.equal(line['handler'], 'busy');
  assert.equal(typeof line['id'], 'number');
  assert.ok(Number(line['ms']) >= 60 && Number(line['turn']) >= Number(line['ms']));
});

test('an error in a module’s timer or promise ends neither the server nor any connection', async t => {
  const folder = newFolder({
    '_imported.mjs': `export const sendLater = connection => setTimeout(() => connection.send(Symbol('sent')));`,
    'mod.mjs': `import { createReadStream } from 'node:fs';
    import { sendLater } from './_imported.mjs';
    export function message(connection, message) {
      const word = message.text();
      if (word === 'later') setTimeout(() => { throw new Error('later'); });
      else if (word === 'unheard') createReadStream('/unheard');
      else if (word === '_imported') sendLater(connection);
      else if (word === 'reject') Promise.reject(new Error('reject'));
      else if (word === 'odd') Promise.reject('odd');
      else connection.send(message);
    }`,
  });
  const server = await startServerFor(t, '--handlers', folder.path);
  const client = await connectRaw(server.port, { path: '/mod' });
  for (const word of ['later', 'unheard', '_imported', 'reject', 'odd']) {
    client.send(frame(opcode.text, word));
    await server.untilLogged(({ event, stack }) => event === 'handler threw' && String(stack).includes(word));
    client.send(frame(opcode.text, 'still here?'));
    assert.equal((await client.nextFrame())?.payload.toString(), 'still here?');
  }
  await settle();
});

test('an error of the server’s own ends the process, as it does without modules', {
  timeout: 60_000,
}, async t => {
  const folder = newFolder({
    'mod.mjs': `import { pathToFileURL } from 'node:url';
    const error = new Error('ours');
    error.stack = 'Error: ours\\n    at poll (' + new URL('core/poll.js:1:1)', pathToFileURL(process.argv[1]));
    export function message() { setTimeout(() => { throw error; }); }`,
  });
  const server = await startServerFor(t, '--handlers', folder.path);
  const client = await connectRaw(server.port, { path: '/mod' });
  client.send(frame(opcode.text, 'go'));
  assert.deepEqual(await once(server.child, 'exit'), [1, null]);
  assert.match(server.stderr(), /^Error: ours$/m);
});

test('at the end of the server the module’s `stopped` is called, and its timers do not keep the process alive', async t => {
  const folder = newFolder({
    'mod.mjs': `setInterval(() => {}, 1000);
    export function message() {}
    export function stopped() { process.stderr.write(JSON.stringify({ event: 'module told' }) + '\\n'); }`,
  });
  const server = await startServerFor(t, '--handlers', folder.path);
  assert.equal(await server.stop(), 0);
  assert.deepEqual(
    server.logged().filter(({ event }) => event === 'module told' || event === 'stopped'),
    [{ event: 'module told' }, server.logged().at(-1)],
  );
});
