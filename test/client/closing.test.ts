/** RFC 6455 §5.5.1, §7.1.3: a client that has sent its close frame still receives messages in flight. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newEndpoint } from '../../src/protocol/websocket/endpoint.ts';
import { close, newRecord, readEvents } from '../support/endpointRun.ts';
import { closePayload, frame, opcode } from '../support/rawFrame.ts';

const plain = { key: null };
const late = Buffer.concat([
  frame(opcode.text, 'one', plain),
  frame(opcode.text, 'tw', { ...plain, fin: false }),
  frame(opcode.ping, '', plain),
  frame(opcode.continuation, 'o', plain),
  frame(opcode.close, closePayload(1000), plain),
  frame(opcode.text, 'too late', plain),
]);

const closing = 'sends close 1000 ""';

for (const [deliversWhileClosing, expected] of [
  [true, [closing, 'text "one"', 'text "two"', 'closed 1000 ""']],
  [false, [closing, 'closed 1000 ""']],
] as const) {
  test(`messages that arrive after the own close frame are ${deliversWhileClosing ? 'delivered' : 'discarded'}`, () => {
    const endpoint = { ...newEndpoint('client', 1000), deliversWhileClosing };
    const record = newRecord(endpoint);
    close(record, 1000);
    const bytes = Buffer.from(late);
    assert.equal(readEvents(record, bytes), bytes.length);
    assert.deepEqual(record.lines, expected);
    assert.equal(endpoint.hasFailed, false);
  });
}

test('hasFailed is true if this side failed the connection, and false if the peer closed it', () => {
  const endpoint = newEndpoint('client', 1000);
  readEvents(newRecord(endpoint), frame(opcode.text, 'masked'));
  assert.deepEqual([endpoint.state, endpoint.hasFailed], ['CLOSED', true]);
});
