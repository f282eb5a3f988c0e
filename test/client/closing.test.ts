/** RFC 6455 §5.5.1, §7.1.3: a client that has sent its close frame still hears what was on its way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type EndpointEvents,
  newEndpoint,
  receive,
  startClosing,
} from '../../src/protocol/websocket/endpoint.ts';
import { messageText } from '../../src/protocol/websocket/message.ts';
import { closePayload, frame, opcode } from '../support/rawFrame.ts';

function newEvents(extra: Pick<EndpointEvents<string[]>, 'hearsWhileClosing'>): EndpointEvents<string[]> {
  return {
    ...extra,
    message(lines, message) {
      lines.push(`message ${messageText(message)}`);
      return true;
    },
    pong() {},
    sendControl(lines, kind) {
      lines.push(`sends ${kind}`);
    },
    closed(lines, code) {
      lines.push(`closed ${code}`);
    },
  };
}

const plain = { key: null };
const late = Buffer.concat([
  frame(opcode.text, 'one', plain),
  frame(opcode.text, 'tw', { ...plain, fin: false }),
  frame(opcode.ping, '', plain),
  frame(opcode.continuation, 'o', plain),
  frame(opcode.close, closePayload(1000), plain),
  frame(opcode.text, 'too late', plain),
]);

for (const [extra, expected] of [
  [{ hearsWhileClosing: true }, ['sends 8', 'message one', 'message two', 'closed 1000']],
  [{}, ['sends 8', 'closed 1000']],
] as const) {
  test(`while CLOSING, with ${JSON.stringify(extra)}`, () => {
    const lines: string[] = [];
    const events = newEvents(extra);
    const endpoint = newEndpoint('client', 1000);
    startClosing(endpoint, events, lines, 1000, '');
    const bytes = Buffer.from(late);
    assert.equal(receive(endpoint, events, lines, bytes, 0, bytes.length), bytes.length);
    assert.deepEqual(lines, expected);
    assert.equal(endpoint.hasFailed, false);
  });
}

test('an endpoint knows whether it was failed by this side', () => {
  const endpoint = newEndpoint('client', 1000);
  const bytes = frame(opcode.text, 'masked');
  receive(endpoint, newEvents({}), [], bytes, 0, bytes.length);
  assert.deepEqual([endpoint.state, endpoint.hasFailed], ['CLOSED', true]);
});
