/** The command `watch` over HTTP, with a reader that keeps its connection but reads nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newGuesses } from '../../src/access/guesses.ts';
import { newApiRoute, newControlRoute } from '../../src/commands/api.ts';
import type { Control } from '../../src/commands/command.ts';
import { newCommandQueue, runCommands } from '../../src/commands/commandQueue.ts';
import { addConnection } from '../../src/core/connection.ts';
import { onData, scheduleTurn } from '../../src/core/poll.ts';
import { serverLoop } from '../../src/core/serverLoop.ts';
import { configureLog, isLogged } from '../../src/log/log.ts';
import { newHttpWire } from '../../src/wires/http.ts';
import type { Route } from '../../src/wires/route.ts';
import { until } from '../support/channelServer.ts';
import { secret } from '../support/commandWays.ts';
import { FakeSocket, newFakeServer } from '../support/fakeSocket.ts';
import { requestBytes } from '../support/pollClient.ts';

configureLog('error', 'text');

test('is dropped after the time of a ping and its pong, unless it reads the control socket', {
  timeout: 60_000,
}, async () => {
  const server = newFakeServer('--ping-interval', '20ms', '--pong-timeout', '20ms');
  const control = { server, queue: newCommandQueue() } as unknown as Control;
  const over = serverLoop(server, () => runCommands(control));
  const watch = (route: Route, isControl: boolean) => {
    const socket = new FakeSocket();
    socket.isStuck = true;
    const connection = addConnection(server, socket, newHttpWire(server, [route]), isControl);
    const headers = { Authorization: `Bearer ${secret}` };
    const bytes = requestBytes('POST', '/api/watch', { headers });
    onData(connection, bytes, bytes.length);
    return { socket, connection };
  };
  const tokens = {
    ...{ api: secret, publish: undefined, read: undefined, metrics: undefined },
    guesses: newGuesses(),
  };
  const operator = watch(newControlRoute(control), true);
  await until(() => operator.socket.isBusy);
  assert.ok(isLogged('debug'));
  const stranger = watch(newApiRoute(control, tokens), false);
  await until(() => stranger.socket.isBusy);
  await until(() => stranger.connection.phase === 'gone');
  assert.match(
    stranger.connection.ending?.why ?? '',
    /^it did not read the stream within 20ms \(--pong-timeout\)$/,
  );
  assert.equal(operator.connection.phase, 'open');
  Object.assign(server, { isDraining: true, drainDeadline: 1 });
  scheduleTurn(server);
  await over;
  assert.ok(!isLogged('debug'), 'a watch that has ended receives no events');
});
