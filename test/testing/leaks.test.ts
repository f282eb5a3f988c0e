/** Closed servers leave nothing in their process. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';

const module = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);

/** Runs in its own process, without other resources. */
const script = `
// Node itself opens these when any socket is destroyed.
const streams = [process.stdout, process.stderr];
const before = process.getActiveResourcesInfo().sort();
const listenersBefore = process.eventNames().length;
const { connect } = await import(${module('client/index.js')});
const { listen } = await import(${module('index.js')});
const records = [];
async function openAndClose(at) {
  const quiz = { state: () => ({}), tick() {}, message(connection, message) { connection.send(message); } };
  const options = { handlers: { quiz }, sockets: at % 2 === 0 ? 'auto' : 'stream', historyAge: '1h', timeouts: 'test' };
  const server = await listen(options);
  records.push(new WeakRef(server));
  const client = await connect(server.url + '/quiz');
  await client.send('x'.repeat(2000));
  await client.next();
  await server.commands.publish('orders', 'x');
  server.waitFor(() => false).catch(() => {});
  if (at % 3 === 0) await server.reset();
  await server.close();
  await client.closed;
}
async function heap() {
  for (let turn = 0; turn < 3; turn++) {
    await new Promise(resolve => setImmediate(resolve));
    gc();
  }
  return process.memoryUsage().heapUsed;
}
for (let at = 0; at < 100; at++) await openAndClose(at);
const half = await heap();
for (let at = 0; at < 100; at++) await openAndClose(at);
const grown = await heap() - half;
console.log(JSON.stringify({
  grown,
  alive: records.filter(record => record.deref() !== undefined).length,
  before,
  after: process.getActiveResourcesInfo().sort(),
  listeners: process.eventNames().length - listenersBefore,
}));
`;

test('200 servers opened and closed in one process leave no handle, timer, listener or memory behind', () => {
  const words = ['--expose-gc', '--input-type=module', '--eval', script];
  const output = execFileSync(process.execPath, words, { encoding: 'utf8', timeout: 60_000 });
  const { grown, alive, before, after, listeners } = JSON.parse(output);
  assert.deepEqual(after, before);
  assert.equal(listeners, 0);
  assert.ok(alive <= 1, `${alive} of 200 servers are still in memory`);
  // A server's record alone takes some 20 KB.
  assert.ok(grown < 500_000, `a hundred servers left ${grown} bytes behind`);
});
