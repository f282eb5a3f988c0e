/** HAR files: the sessions that Chromium's developer tools save. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHar } from '../../src/recordings/har.ts';
import { planReplay } from '../../src/recordings/replay.ts';
import { chromiumHar } from '../support/har.ts';

test('the WebSockets of a HAR file are recordings, and its other requests are not', () => {
  const [one, two, ...more] = parseHar('page', chromiumHar('ws://127.0.0.1:8080'));
  assert.equal(more.length, 0);
  assert.deepEqual([one!.name, two!.name], ['page-1', 'page-2']);
  const [request, response, first, second, binary] = one!.events;
  assert.ok(request?.kind === 'request' && response?.kind === 'response');
  assert.equal(request.target, '/echo?x=1');
  assert.equal(request.headers['sec-websocket-version'], '13');
  assert.ok(first?.kind === 'frame' && second?.kind === 'frame' && binary?.kind === 'frame');
  assert.deepEqual([first.from, second.from, binary.from], ['client', 'server', 'client']);
  assert.deepEqual(first.content, { isText: true, bytes: Buffer.from('grüß dich') });
  assert.deepEqual(binary.content, { isText: false, bytes: Buffer.from([0, 1, 255]) });
  // In milliseconds, to the microsecond.
  assert.ok(Math.abs(second.at - first.at - 1.5) < 0.01);
});

test('the sessions of a HAR file are replayed in the order of time', () => {
  const plan = planReplay(parseHar('page', chromiumHar('ws://127.0.0.1:8080')));
  assert.deepEqual(
    plan.map(({ session, action }) => `${session} ${action.kind}`),
    ['0 open', '0 sendFrame', '0 expect', '1 open', '1 sendFrame', '1 expect', '0 sendFrame', '0 expect'],
  );
});

test('a file that is not HAR, or has no WebSocket, is refused', () => {
  assert.throws(() => parseHar('x', '{"log":'), /not valid JSON/);
  assert.throws(() => parseHar('x', '{"log":{}}'), /it is not a HAR file/);
  assert.throws(() => parseHar('x', '{"log":{"entries":[]}}'), /has no WebSocket messages/);
  const broken = '{"log":{"entries":[{"_webSocketMessages":[{"type":"sent"}]}]}}';
  assert.throws(() => parseHar('x', broken), /WebSocket message 1 has no "type"/);
});
