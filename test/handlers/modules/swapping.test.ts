import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { callHandler, moduleStates } from '../../../src/handlers/modules/modules.ts';
import { configureLog } from '../../../src/log/log.ts';
import { websocket } from '../../../src/wires/websocket.ts';
import { manualPage } from '../../support/documents.ts';
import { connect, loadAll, newFolder, reload, settle } from '../../support/modules.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';

configureLog('error', 'text');

/** Answers with its version and the message counts of the connection and the module. */
const counter = (version: string, more = '') => `
  export const state = () => ({ total: 0 });
  export function opened(connection) { connection.data = { count: 0 }; }
  export function message(connection, message, { state }) {
    if (message.text() === 'fail${version}') throw new Error('${version} failed');
    connection.send('${version} ' + ++connection.data.count + ' ' + ++state.total);
  }
  export const command = (words, { state }) => state;
  ${more}`;

describe('the next version', () => {
  test('takes over the connections with their data and groups, and the state', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    const [a, b] = [connect(server, 'mod'), connect(server, 'mod')];
    a.say('x', 'x');
    b.say('x');
    folder.write('mod.mjs', counter('v2'));
    const [line] = await reload(server);
    assert.match(line ?? '', /mod\.mjs has taken over 2 connections$/);
    a.say('x');
    b.say('x');
    assert.deepEqual(
      [a.heard(), b.heard()],
      [
        ['v1 1 1', 'v1 2 2', 'v2 3 4'],
        ['v1 1 3', 'v2 2 5'],
      ],
    );
    assert.deepEqual([a.connection.phase, b.connection.phase], ['open', 'open']);
  });

  test('loads an imported file again if it adds its own query, as the manual says', async () => {
    const importLine = /`(const \{ rules \} .*?)`/.exec(manualPage('modules'))?.[1];
    assert.ok(importLine?.includes('import('));
    const module = (version: string) =>
      `${importLine}; export function message(connection) { connection.send('${version} ' + rules); }`;
    const folder = newFolder({ '_rules.mjs': 'export const rules = "old";', 'mod.mjs': module('v1') });
    const server = await loadAll(folder);
    const client = connect(server, 'mod');
    client.say('x');
    folder.write('_rules.mjs', 'export const rules = "new";');
    folder.write('mod.mjs', module('v2'));
    const lines = await reload(server);
    client.say('x');
    assert.deepEqual(client.heard(), ['v1 old', 'v2 new']);
    assert.equal(lines.length, 1, 'the reload reports no old import');
  });

  test('counts the joins and leaves of its first call among the members of a group at once', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    const [a, b] = [connect(server, 'mod'), connect(server, 'mod')];
    folder.write(
      'mod.mjs',
      `export function message(connection, message, { members }) {
        const counts = [members('g')];
        const step = name => { connection[name]('g'); counts.push(members('g')); };
        for (const name of message.text().split(' ')) step(name);
        if (counts.includes(3)) throw new Error('cannot be');
        connection.send(counts.join(' '));
      }`,
    );
    await reload(server);
    a.say('join join leave leave join');
    b.say('join leave join');
    a.say('leave join leave');
    assert.deepEqual(a.heard(), ['0 1 1 0 0 1', '2 1 2 1']);
    assert.deepEqual(b.heard(), ['1 2 1 2']);
    assert.equal(moduleStates(server)[0]?.state, 'on probation');
  });

  test('converts the state in its swap, or creates one if there was none', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1'), 'bare.mjs': 'export function message() {}' });
    const server = await loadAll(folder);
    connect(server, 'mod').say('x');
    folder.write('mod.mjs', counter('v2', 'export const swap = old => ({ total: old.total + 100 });'));
    folder.write('bare.mjs', counter('v2'));
    await reload(server);
    assert.deepEqual(await callHandler(server, 'mod', []), { total: 101 });
    assert.deepEqual(await callHandler(server, 'bare', []), { total: 0 });
  });

  test('is refused if its swap throws', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    folder.write('mod.mjs', counter('v2', "export function swap() { throw new Error('cannot'); }"));
    const [line] = await reload(server);
    assert.match(line ?? '', /mod\.mjs is not loaded: its swap threw Error: cannot$/);
    assert.equal(moduleStates(server)[0]?.state, 'refused');
    const client = connect(server, 'mod');
    client.say('x');
    assert.deepEqual(client.heard(), ['v1 1 1']);
  });

  test('stops the previous version at the end of its own rollback window', async () => {
    const stopping = (version: string) =>
      counter(version, `export const stopped = () => (globalThis.stopped ??= []).push('${version}');`);
    const folder = newFolder({ 'mod.mjs': stopping('v1') });
    const server = await loadAll(folder, '--rollback-window', '0');
    folder.write('mod.mjs', stopping('v2'));
    await reload(server);
    assert.deepEqual((globalThis as unknown as { stopped: string[] }).stopped, ['v1']);
    folder.remove('mod.mjs');
    await reload(server);
    assert.deepEqual((globalThis as unknown as { stopped: string[] }).stopped, ['v1', 'v2']);
  });

  test('is refused if it cannot serve the existing connections', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    connect(server, 'mod');
    folder.write('mod.mjs', 'export const wire = { matches: () => false, receive() {} };');
    await assert.rejects(
      reload(server),
      / it has connections, but no longer a message function; export one$/,
    );
  });

  test('a deleted module closes its connections', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    const client = connect(server, 'mod');
    folder.remove('mod.mjs');
    assert.match((await reload(server))[0] ?? '', /mod\.mjs was deleted \(1 connection closed\)$/);
    assert.deepEqual(client.heard(), ['close 1001 this handler was removed']);
    assert.deepEqual([server.handlers.has('mod'), moduleStates(server)], [false, []]);
  });
});

describe('a version that throws in its rollback window', () => {
  test('is rolled back unnoticed: the previous version gets the message', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    const client = connect(server, 'mod');
    client.say('1');
    folder.write('mod.mjs', counter('v2'));
    await reload(server);
    client.say('2');
    assert.equal(moduleStates(server)[0]?.state, 'on probation');
    client.say('failv2', '4');
    assert.deepEqual(client.heard(), ['v1 1 1', 'v2 2 2', 'v1 3 3', 'v1 4 4']);
    const [state] = moduleStates(server);
    assert.deepEqual([state?.state, state?.reason], ['rolled back', 'Error: v2 failed']);
    assert.equal(state?.lastError?.why, 'Error: v2 failed');
    // The file is still there: the next reload tries it again.
    assert.match((await reload(server))[0] ?? '', /has taken over 1 connection$/);
  });

  test('has sent, closed and joined nothing in that call', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    const client = connect(server, 'mod');
    folder.write(
      'mod.mjs',
      `export function message(connection, message, server) {
        const bytes = Buffer.from('kept');
        connection.join('all');
        connection.send(message);
        connection.send(bytes);
        server.publish('all', message);
        bytes.fill('x');
        if (message.text() === 'fail') {
          connection.close(4000);
          throw new Error();
        }
      }
      export const command = (_, server) => server.members('all');`,
    );
    await reload(server);
    client.say('fine');
    const { finishFanouts } = await import('../../../src/core/fanout.ts');
    finishFanouts(server);
    assert.deepEqual(client.heard(), ['fine', `<${Buffer.from('kept').toString('hex')}>`, 'fine']);
    assert.equal(await callHandler(server, 'mod', []), 1);
    client.say('fail', 'x');
    finishFanouts(server);
    assert.deepEqual(client.heard(), ['v1 1 1', 'v1 2 2']);
    assert.deepEqual(await callHandler(server, 'mod', []), { total: 2 });
  });

  test('is rolled back whichever of its functions throws', async () => {
    const parts = {
      opened: 'export function opened() { throw new Error(); }',
      closed: 'export function closed() { throw new Error(); }',
      command: 'export function command() { throw new Error(); }',
    };
    for (const [part, source] of Object.entries(parts)) {
      const old = `export function message(connection) { connection.send('old'); }
        export function opened(connection) { connection.send('welcome'); }
        export function closed(connection, code, reason, server) { server.state = 'closed'; }
        export const command = (_, server) => server.state ?? 'none';`;
      const folder = newFolder({ 'mod.mjs': old });
      const server = await loadAll(folder);
      const client = connect(server, 'mod');
      const whole = `export function message() {}\n${source}`;
      folder.write('mod.mjs', whole);
      await reload(server);
      if (part === 'opened') assert.deepEqual(connect(server, 'mod').heard(), ['welcome']);
      if (part === 'closed') websocket.onEnd(client.connection, undefined);
      if (part === 'command') assert.equal(await callHandler(server, 'mod', []), 'none');
      assert.equal(moduleStates(server)[0]?.state, 'rolled back', part);
      if (part === 'closed') assert.equal(await callHandler(server, 'mod', []), 'closed');
    }
  });

  test('is rolled back by a rejected promise, and the message is not lost', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    const [a, b] = [connect(server, 'mod'), connect(server, 'mod')];
    folder.write('mod.mjs', 'export async function message() { await undefined; throw new Error("late"); }');
    await reload(server);
    a.say('1', '2');
    b.say('1');
    assert.deepEqual([a.heard(), b.heard()], [[], []]);
    await settle();
    a.say('3');
    assert.deepEqual([a.heard(), b.heard()], [['v1 1 1', 'v1 2 3', 'v1 3 4'], ['v1 1 2']]);
    assert.equal(moduleStates(server)[0]?.state, 'rolled back');
  });

  test('is rolled back to the last version that does not throw', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    const client = connect(server, 'mod');
    for (const version of ['v2', 'v3']) {
      folder.write('mod.mjs', counter(version).replace(`=== 'fail${version}'`, `.startsWith('fail')`));
      await reload(server);
    }
    client.say('fail', 'x');
    assert.deepEqual(client.heard(), ['v1 1 1', 'v1 2 2']);
    client.say('failv1');
    assert.deepEqual(client.heard(), ['close 1011 internal error'], 'there is none before the first');
  });

  test('gives up the state that its swap returned', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder);
    const client = connect(server, 'mod');
    client.say('x');
    folder.write(
      'mod.mjs',
      counter('v2', 'export const swap = ({ total }) => ({ total: "changed " + total });'),
    );
    await reload(server);
    assert.deepEqual(await callHandler(server, 'mod', []), { total: 'changed 1' });
    client.say('failv2');
    assert.deepEqual(client.heard(), ['v1 1 1', 'v1 2 2']);
  });

  test('closes only the connection it threw for once its rollback window is over', async () => {
    const folder = newFolder({ 'mod.mjs': counter('v1') });
    const server = await loadAll(folder, '--rollback-window', '1ms');
    const [a, b] = [connect(server, 'mod'), connect(server, 'mod')];
    folder.write('mod.mjs', counter('v2'));
    await reload(server);
    while (moduleStates(server)[0]?.state === 'on probation')
      await new Promise(resolve => setTimeout(resolve, 1));
    a.say('failv2');
    b.say('x');
    assert.deepEqual([a.heard(), b.heard()], [['close 1011 internal error'], ['v2 1 1']]);
  });
});

describe('while a promise is pending', () => {
  const slow = `export default {
    state: () => ({ release: [] }),
    async message(connection, message, { state }) {
      const early = message.text();
      await new Promise((resolve, reject) => state.release.push(early === 'reject' ? () => reject(new Error('no')) : resolve));
      connection.send(early + message.text());
    },
    command: (_, { state }) => state.release.shift()?.(),
  };`;

  test("the connection's next messages wait in order, and other connections are served", async () => {
    const server = await loadAll(newFolder({ 'mod.mjs': slow }));
    const [a, b] = [connect(server, 'mod'), connect(server, 'mod')];
    a.say('1', '2');
    b.say('x');
    assert.equal(server.counters.messagesIn, 2);
    const release = async () => {
      await callHandler(server, 'mod', []);
      await settle();
      a.say();
    };
    await release();
    assert.deepEqual([a.heard(), b.heard()], [['11'], []]);
    await release();
    assert.deepEqual([a.heard(), b.heard()], [[], ['xx']]);
    await release();
    assert.deepEqual(a.heard(), ['22']);
  });

  test('a close behind the message waits for the promise, and a ping does not', async () => {
    const server = await loadAll(newFolder({ 'mod.mjs': slow }));
    const client = connect(server, 'mod');
    client.say('1');
    client.send(frame(opcode.ping, 'p'), closeFrame(1000));
    assert.deepEqual(client.heard(), [`<${Buffer.from('p').toString('hex')}>`]);
    await callHandler(server, 'mod', []);
    await settle();
    client.say();
    assert.deepEqual(client.heard(), ['11', 'close 1000 ']);
  });

  test('a rejection has the effect of an exception', async () => {
    const server = await loadAll(newFolder({ 'mod.mjs': slow }));
    const client = connect(server, 'mod');
    client.say('reject');
    await callHandler(server, 'mod', []);
    await settle();
    assert.deepEqual(client.heard(), ['close 1011 internal error']);
  });

  test('a connection that has closed in the meantime is left alone', async () => {
    const server = await loadAll(newFolder({ 'mod.mjs': slow }));
    for (const word of ['1', 'reject']) {
      const client = connect(server, 'mod');
      client.say(word);
      websocket.onEnd(client.connection, 'ECONNRESET');
      await callHandler(server, 'mod', []);
      await settle();
      assert.deepEqual(client.heard(), []);
    }
    assert.equal(moduleStates(server)[0]?.lastError, undefined);
  });

  test('an `opened` that returns a promise delays the first message', async () => {
    const source = `export async function opened(connection) { await undefined; connection.data = 'ready'; }
      export function message(connection) { connection.send(connection.data); }`;
    const server = await loadAll(newFolder({ 'mod.mjs': source }));
    const client = connect(server, 'mod');
    client.say('x');
    assert.deepEqual(client.heard(), []);
    await settle();
    client.say();
    assert.deepEqual(client.heard(), ['ready']);
  });

  test('its connection is closed after the time limit', async () => {
    const server = await loadAll(newFolder({ 'mod.mjs': slow }), '--handler-timeout', '5s');
    const client = connect(server, 'mod');
    client.say('1');
    const handler = server.handlers.get('mod');
    server.now += 4999;
    handler?.turnEnds?.();
    assert.deepEqual(client.heard(), []);
    server.now += 1;
    handler?.turnEnds?.();
    assert.deepEqual(client.heard(), ['close 1011 internal error']);
    await callHandler(server, 'mod', []);
    await settle();
    assert.deepEqual(client.heard(), []);
  });
});
