/** A closed inspector costs nothing, and a page that does not read costs little. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { openTokens } from '../../../src/access/tokens.ts';
import { newServer } from '../../../src/core/server.ts';
import { serverLoop } from '../../../src/core/serverLoop.ts';
import { stopServer } from '../../../src/core/shutdown.ts';
import { openChannels } from '../../../src/handlers/channels/channels.ts';
import { newChat } from '../../../src/handlers/chat/chat.ts';
import { addHandlers, handlerNames } from '../../../src/handlers/handlers.ts';
import { openInspectors } from '../../../src/handlers/inspector/handler.ts';
import { type Inspectors, sessionMemory } from '../../../src/handlers/inspector/session.ts';
import { configureLog } from '../../../src/log/log.ts';
import { openListener } from '../../../src/net/listeners.ts';
import { readConfiguration } from '../../../src/options/configuration.ts';
import {
  maxDecodedFrame,
  maxExport,
  maxInspectorBacklog,
  maxKeptBytes,
} from '../../../src/protocol/inspectorLimits.ts';
import { newHttpWire } from '../../../src/wires/http.ts';
import { type InspectorClient, openInspector } from '../../support/inspectorClient.ts';

async function start(t: TestContext): Promise<{ inspectors: Inspectors; port: number }> {
  configureLog('error', 'text');
  const server = newServer(readConfiguration(['--inspect'], {}, handlerNames));
  const channels = await openChannels(server);
  const inspectors = openInspectors(server, channels, openTokens(server));
  await addHandlers(server, newChat(server, channels, ['*']), channels);
  const wire = newHttpWire(server, []);
  inspectors.workbenchWire = wire;
  const { port } = await openListener(server, { transport: 'tcp', host: '127.0.0.1', port: 0 }, wire);
  const over = serverLoop(server, () => {});
  t.after(() => {
    stopServer(server, 'the test is over');
    return over;
  });
  return { inspectors, port: port! };
}

async function watchEcho(page: InspectorClient): Promise<number> {
  const { added } = await page.next('connections', ({ added }) => added.some(one => one.handler === 'echo'));
  const { serial } = added.find(one => one.handler === 'echo')!;
  page.send({ type: 'watch', serial });
  await page.next('state');
  return serial;
}

test('a closed inspector leaves no tap and no timer', async t => {
  const { inspectors, port } = await start(t);
  const { taps } = inspectors.server;
  assert.deepEqual([taps.isOn, inspectors.timer], [false, undefined]);
  const socket = new WebSocket(`ws://127.0.0.1:${port}/echo`);
  await once(socket, 'open');
  const page = await openInspector(port);
  await watchEcho(page);
  assert.equal(taps.isOn, true);
  page.send({ type: 'watch', serial: null });
  page.send({ type: 'explain', frame: 1 });
  await page.next('failed');
  // Without a watched connection, the traffic passes no tap.
  assert.equal(taps.isOn, false);
  page.close();
  await page.closed;
  assert.equal(inspectors.timer, undefined);
  const second = await openInspector(port);
  await watchEcho(second);
  assert.equal(taps.isOn, true);
  second.close();
  await second.closed;
  assert.deepEqual([taps.isOn, inspectors.timer, inspectors.sessions.size], [false, undefined, 0]);
  socket.terminate();
});

test('a page that does not read costs bounded memory, and gets the number of frames that it missed', async t => {
  const { inspectors, port } = await start(t);
  const socket = new WebSocket(`ws://127.0.0.1:${port}/echo`);
  await once(socket, 'open');
  const page = await openInspector(port);
  await watchEcho(page);
  page.pause();
  const text = 'x'.repeat(100_000);
  const [session] = inspectors.sessions;
  const most = maxInspectorBacklog + maxExport + 2 * maxKeptBytes + 8 * maxDecodedFrame;
  let held = 0;
  for (let i = 0; i < 600; i++) {
    socket.send(text);
    await once(socket, 'message');
    held = Math.max(held, sessionMemory(session!) + session!.connection.queue.size);
  }
  assert.ok(held < most, `${held} of ${most} bytes`);
  page.resume();
  let seen = 0;
  while (seen < 1200) {
    const { frames, skipped } = await page.next('frames');
    seen += frames.length + skipped;
  }
  assert.equal(seen, 1200);
  page.close();
  await page.closed;
  socket.terminate();
});
