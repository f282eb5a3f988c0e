import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { reconnectDelay } from '../../src/client/run.ts';
import { startServerWith } from '../support/serverProcess.ts';
import { runClient, startClient, startRaw, startWs } from './clientProcess.ts';

const limit = { timeout: 60_000 };

test('reconnect delays double from half a second to half a minute [7.2.3-1, 7.2.3-2, 7.2.3-3, 7.2.3-4]', () => {
  assert.deepEqual(
    [0, 1, 2].map(failures => reconnectDelay(failures, 0)),
    [500, 1000, 2000],
  );
  assert.equal(reconnectDelay(0, 0.5), 750);
  assert.equal(reconnectDelay(1000, 0), 15_000);
  const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.nat(5000), chance, (failures, drawn) => {
      const delay = reconnectDelay(failures, drawn);
      assert.ok(delay >= 500 && delay <= 30_000);
      assert.ok(delay >= reconnectDelay(failures, 0) && delay <= reconnectDelay(failures + 1, 0) * 2);
    }),
    { seed: 1 },
  );
});

test(
  'the client reconnects, with a notice, after a lost connection, but not after a close',
  limit,
  async t => {
    let connections = 0;
    const url = await startWs(t, socket => {
      const number = ++connections;
      socket.once('message', text => {
        socket.send(`${number}: ${text}`, () => (number === 1 ? socket.terminate() : socket.close(1000)));
      });
    });
    const client = startClient(t, url, '--reconnect', '-x', 'hello', '-w', 'forever');
    const { status, stdout, stderr } = await client.result;
    assert.deepEqual([status, stdout.toString()], [0, '1: hello\n2: hello\n']);
    assert.match(stderr, /^pollywog-client: closed 1006: .*; dialing again in \d+(\.\d)?m?s\n$/);
  },
);

test('lines that were not sent yet are sent on the next connection', limit, async t => {
  let connections = 0;
  const url = await startWs(t, socket => {
    if (++connections === 1) socket.close(1012, 'restart');
    else socket.on('message', text => socket.send(`${text}`));
  });
  const client = startClient(t, url, '--reconnect');
  await client.untilPrinted('closed 1012: restart; dialing again');
  client.child.stdin.end('kept\n');
  const { status, stdout } = await client.result;
  assert.deepEqual([status, stdout.toString(), connections], [0, 'kept\n', 2]);
});

test('the client dials again until the server has started', limit, async t => {
  const place = createServer();
  place.listen(0, '127.0.0.1');
  await once(place, 'listening');
  const { port } = place.address() as AddressInfo;
  place.close();
  await once(place, 'close');
  const client = startClient(t, `ws://127.0.0.1:${port}/echo`, '--reconnect');
  client.child.stdin.end('hello\n');
  await client.untilPrinted('dialing again');
  await startServerWith(['-p', `${port}`, '--host', '127.0.0.1', '--log-format', 'json'], {
    test: t,
  });
  const { status, stdout } = await client.result;
  assert.deepEqual([status, stdout.toString()], [0, 'hello\n']);
});

test('the client does not reconnect after an error that would recur', limit, async t => {
  const refusing = await startRaw(t, ({ socket }) =>
    socket.end('HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n'),
  );
  assert.equal((await runClient(t, [refusing, '--reconnect'])).status, 4);
  const closing = await startWs(t, socket => socket.close(1008, 'no'));
  assert.equal((await runClient(t, [closing, '--reconnect', '-w', 'forever'])).status, 5);
  const broken = await startRaw(t, ({ socket, response }) => socket.end(`${response}rubbish`));
  assert.equal((await runClient(t, [broken, '--reconnect', '-w', 'forever'])).status, 7);
});
