/** An event stream whose client keeps its connection, but reads nothing: a frozen tab, for example. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addConnection } from '../../../src/core/connection.ts';
import { onData, scheduleTurn } from '../../../src/core/poll.ts';
import { serverLoop } from '../../../src/core/serverLoop.ts';
import { echo } from '../../../src/handlers/echo.ts';
import { newHttpWire } from '../../../src/wires/http.ts';
import { newPollRoute } from '../../../src/wires/polling/pollRoute.ts';
import { isStreamUnread } from '../../../src/wires/unreadStream.ts';
import { until } from '../../support/channelServer.ts';
import { FakeSocket, newFakeServer, openFakeConnection } from '../../support/fakeSocket.ts';
import { requestBytes } from '../../support/pollClient.ts';

const patience = { timeout: 60_000 };

test(
  'a stream of a polling session whose client reads nothing is dropped, and the session ends',
  patience,
  async () => {
    const options = ['--ping-interval', '20ms', '--pong-timeout', '20ms', '--poll-timeout', '50ms'];
    const server = newFakeServer(...options);
    server.handlers.set('echo', echo);
    const wire = newHttpWire(server, [newPollRoute(server)]);
    const over = serverLoop(server, () => {});
    const send = (bytes: Buffer, isStuck = false) => {
      const socket = new FakeSocket();
      socket.isStuck = isStuck;
      const connection = addConnection(server, socket, wire);
      onData(connection, bytes, bytes.length);
      return { socket, connection };
    };
    const opening = send(requestBytes('POST', '/poll/echo'));
    await until(() => opening.socket.written().includes('"session"'));
    const [, path = ''] = /Location: (\S+)/.exec(String(opening.socket.written())) ?? [];
    const { socket, connection } = send(
      requestBytes('GET', path, { headers: { Accept: 'text/event-stream' } }),
      true,
    );
    await until(() => socket.isBusy);
    assert.equal(server.polling.clients, 1);
    await until(() => connection.phase === 'gone');
    await until(() => server.polling.clients === 0);
    Object.assign(server, { isDraining: true, drainDeadline: 1 });
    scheduleTurn(server);
    await over;
  },
);

test('a stream is dropped when its client has read nothing for the time of a ping and its pong, and not before', () => {
  const server = newFakeServer('--ping-interval', '25s', '--pong-timeout', '20s');
  const { connection, socket } = openFakeConnection(server, undefined);
  assert.equal(isStreamUnread(connection), false);
  socket.isBusy = true;
  server.now += 44_000;
  assert.equal(isStreamUnread(connection), true);
  assert.equal(connection.phase, 'open');
  // It reads again.
  socket.isBusy = false;
  assert.equal(isStreamUnread(connection), false);
  socket.isBusy = true;
  server.now += 44_999;
  isStreamUnread(connection);
  assert.equal(connection.phase, 'open');
  server.now++;
  isStreamUnread(connection);
  assert.equal(connection.phase, 'gone');
});
