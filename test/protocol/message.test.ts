import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { maxFragments } from '../../src/protocol/limits.ts';
import { type FrameHeader, newFrameHeader } from '../../src/protocol/websocket/frame.ts';
import {
  addPayload,
  beginMessage,
  checkSize,
  continueMessage,
  finishMessage,
  type IncomingMessage,
  type Message,
  messageBytes,
  messageText,
} from '../../src/protocol/websocket/message.ts';
import { newRecord, plainServer, readEvents, setUpEndpoint } from '../support/endpointRun.ts';
import { frame, opcode } from '../support/rawFrame.ts';

const noBound = Number.POSITIVE_INFINITY;
const header = (fields: Partial<FrameHeader>): FrameHeader => ({ ...newFrameHeader(), ...fields });
const text = (fields: Partial<FrameHeader>) => header({ opcode: 1, ...fields });

function add(incoming: IncomingMessage, bytes: string | Uint8Array, isMasked = false): void {
  const input = { bytes: Buffer.from(bytes), start: 0, end: bytes.length };
  addPayload(incoming, input, isMasked);
  assert.equal(input.start, input.end);
}

function finish(incoming: IncomingMessage): Message {
  const message: Message = { isText: false, bytes: Buffer.alloc(0), start: 7, end: 0 };
  finishMessage(incoming, message);
  return message;
}

function assertRefused(run: () => unknown, code: number): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof ProtocolError, String(error));
    assert.equal(error.code, code);
    return true;
  });
}

describe('a message in fragments', () => {
  test('is assembled from fragments, and fragments from pieces [5.4-3, 5.4-12, 6.2-3]', () => {
    const incoming = beginMessage(text({ length: 4 }), noBound);
    add(incoming, 'on');
    add(incoming, 'e ');
    continueMessage(incoming, header({ length: 0 }), noBound);
    continueMessage(incoming, header({ fin: true, length: 3 }), noBound);
    add(incoming, 'two');
    assert.equal(incoming.missing, 0);
    const message = finish(incoming);
    assert.equal(message.isText, true);
    assert.equal(messageText(message), 'one two');
    assert.deepEqual(messageBytes(message), Buffer.from('one two'));
  });

  test('may be empty', () => {
    const incoming = beginMessage(text({ length: 0 }), noBound);
    continueMessage(incoming, header({ length: 0 }), noBound);
    continueMessage(incoming, header({ fin: true, length: 0 }), noBound);
    const message = finish(incoming);
    assert.equal(messageText(message), '');
    assert.deepEqual(messageBytes(message), Buffer.alloc(0));
  });

  test('takes no more of the bytes than its frame has', () => {
    const incoming = beginMessage(text({ length: 3 }), noBound);
    const input = { bytes: Buffer.from('..onetwo'), start: 2, end: 8 };
    addPayload(incoming, input, false);
    assert.equal(input.start, 5);
    assert.equal(incoming.length, 3);
  });

  test('unmasks each frame with its own key, rotated to the offset of each piece [5.3-a, 6.2-7]', () => {
    const plain = Buffer.from('masked in pieces');
    const [key, other] = [Buffer.from('a1b2c3d4', 'hex'), Buffer.from('00ff00ff', 'hex')];
    const masked = plain.map((byte, i) => byte ^ key[i % 4]!);
    const incoming = beginMessage(text({ length: plain.length, key: key.readInt32LE() }), noBound);
    for (let at = 0, size = 1; at < plain.length; at += size++) {
      add(incoming, masked.subarray(at, at + size), true);
    }
    const next = header({ fin: true, length: plain.length, key: other.readInt32LE() });
    continueMessage(incoming, next, noBound);
    const second = Buffer.from(plain.map((byte, i) => byte ^ other[i % 4]!));
    add(incoming, second, true);
    assert.equal(messageText(finish(incoming)), 'masked in pieces'.repeat(2));
  });

  test('cannot begin with a continuation frame or inside another message [5.4-a, 5.4-4]', () => {
    assertRefused(() => beginMessage(header({ opcode: 0 }), noBound), 1002);
    const incoming = beginMessage(text({ length: 0 }), noBound);
    for (const opcode of [1, 2]) {
      assertRefused(() => continueMessage(incoming, header({ opcode }), noBound), 1002);
    }
  });

  test('a copy of its bytes stays when the bytes are used again', () => {
    const bytes = Buffer.from('[kept]');
    const message: Message = { isText: true, bytes, start: 1, end: 5 };
    const copy = messageBytes(message);
    bytes.fill(0);
    assert.equal(copy.toString(), 'kept');
  });
});

describe('the limits of a message', () => {
  test('apply to all its fragments together, at the header [10.4-1, 10.4-2]', () => {
    assertRefused(() => beginMessage(text({ length: 101 }), 100), 1009);
    const incoming = beginMessage(text({ length: 60 }), 100);
    add(incoming, 'x'.repeat(60));
    continueMessage(incoming, header({ length: 40 }), 100);
    add(incoming, 'x'.repeat(40));
    continueMessage(incoming, header({ length: 0 }), 100);
    assertRefused(() => continueMessage(incoming, header({ length: 1 }), 100), 1009);
  });

  test('checkSize lets as much pass as is allowed', () => {
    checkSize(100, 100);
    checkSize(2 ** 53, noBound);
    assertRefused(() => checkSize(101, 100), 1009);
  });

  test('memory is taken for what came, not for what a header announces', () => {
    const incoming = beginMessage(header({ opcode: 2, fin: true, length: 2 ** 40 }), noBound);
    assert.equal(incoming.buffer.length, 0);
    for (let came = 0; came < 100_000; ) {
      const piece = Buffer.alloc(1 + (came % 1400));
      add(incoming, piece);
      came += piece.length;
      assert.equal(incoming.length, came);
      assert.ok(incoming.buffer.length <= 2 * came + 100, `${incoming.buffer.length} for ${came}`);
    }
  });

  test('a whole last frame takes no more memory than it needs; a long one, no more than the next power of two', () => {
    for (const [length, most] of [
      [20_000, 20_016],
      [100_000, 131_072 + 100],
    ] as const) {
      const incoming = beginMessage(header({ opcode: 2, fin: true, length }), noBound);
      for (let came = 0; came < length; came += 1000) add(incoming, Buffer.alloc(1000));
      assert.ok(incoming.buffer.length <= most, `${incoming.buffer.length}`);
    }
  });

  test('many small pieces are copied a few times only', () => {
    const incoming = beginMessage(header({ opcode: 2, length: 64 * 1024 }), noBound);
    const buffers = new Set<Buffer>();
    for (let came = 0; came < 64 * 1024; came += 16) {
      add(incoming, Buffer.alloc(16));
      buffers.add(incoming.buffer);
    }
    assert.ok(buffers.size <= 16, `${buffers.size}`);
  });

  test(`${maxFragments} fragments are taken, and one more is not, however empty`, () => {
    const endpoint = setUpEndpoint(plainServer);
    const record = newRecord(endpoint);
    const key = Buffer.alloc(4);
    const give = (bytes: Buffer) => assert.equal(readEvents(record, bytes), bytes.length);
    give(frame(opcode.text, '', { fin: false, key }));
    const many = 2 ** 15 - 1;
    const batch = Buffer.concat(
      Array.from({ length: many }, () => frame(opcode.continuation, '', { fin: false, key })),
    );
    let sent = 1;
    for (; sent + many < maxFragments; sent += many) give(batch);
    assert.deepEqual(record.lines, []);
    give(batch.subarray(0, (maxFragments - sent) * 6));
    assert.deepEqual(record.lines, []);
    give(batch.subarray(0, 6));
    assert.match(record.lines.join(), /^sends close 1009 ".*fragments",closed 1009/);
  });
});

describe('the text of a message', () => {
  test('is refused at the first invalid byte, in any piece [5.6-1, 7.4.1-e, 8.1-1]', () => {
    const incoming = beginMessage(text({ length: 100 }), noBound);
    add(incoming, Buffer.from('e282', 'hex'));
    assertRefused(() => add(incoming, Buffer.from('28', 'hex')), 1007);
  });

  test('is refused if the message ends inside a character [5.6-1]', () => {
    const incoming = beginMessage(text({ fin: true, length: 2 }), noBound);
    add(incoming, Buffer.from('e282', 'hex'));
    assertRefused(() => finish(incoming), 1007);
  });

  test('is not looked at in binary', () => {
    const incoming = beginMessage(header({ opcode: 2, fin: true, length: 2 }), noBound);
    add(incoming, Buffer.from('ff80', 'hex'));
    assert.deepEqual(messageBytes(finish(incoming)), Buffer.from('ff80', 'hex'));
  });
});
