/** A large compressed message is inflated over several calls; meanwhile the endpoint takes no other message. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deflateMessage, newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import { type Endpoint, endEndpoint, startClosing } from '../../src/protocol/websocket/endpoint.ts';
import { newRecord, plainServer, readEvents, setUpEndpoint, showBytes } from '../support/endpointRun.ts';
import { closePayload, type FrameOptions, frame, opcode } from '../support/rawFrame.ts';

const large = Buffer.alloc(1024 * 1024 - 1, 'a large message, ');
const compressed = { rsv: 4 };

/** An endpoint that is allowed so many slices by each call. */
function newEnd(slicesEach: number) {
  const endpoint = setUpEndpoint({ ...plainServer, compression: 'takeover' });
  const record = newRecord(endpoint);
  let left = 0;
  record.mayInflate = () => left-- > 0;
  const sender = newDeflateContext(true, 15);
  return {
    endpoint,
    give(...frames: Buffer[]): number {
      left = slicesEach;
      const bytes = Buffer.concat(frames);
      return readEvents(record, bytes);
    },
    /** Without new bytes, until it is inflated. @returns the number of calls */
    goOn(): number {
      for (let calls = 1; ; calls++) {
        this.give();
        if (endpoint.inflating === undefined) return calls;
      }
    },
    message: (plain: Buffer, kind: 'text' | 'binary' = 'binary', options: FrameOptions = {}) =>
      frame(opcode[kind], deflateMessage(sender, plain, 0, plain.length), { ...compressed, ...options }),
    lines: () => record.lines.splice(0),
  };
}

describe('while a message is being inflated', () => {
  test('it continues without new bytes, is delivered whole, and the next message may refer to it [6.2-6, 7692-6-1]', () => {
    const end = newEnd(3);
    const first = end.message(large, 'text');
    const second = end.message(large.subarray(0, 500), 'text');
    assert.equal(end.give(first, second), first.length, 'the next message waits');
    assert.deepEqual(end.lines(), []);
    assert.ok(end.goOn() > 3);
    assert.equal(end.give(second), second.length);
    assert.deepEqual(end.lines(), [`text ${showBytes(large)}`, `text ${showBytes(large.subarray(0, 500))}`]);
  });

  test('pings behind it are answered; a close frame, and messages, wait', () => {
    const end = newEnd(1);
    const ping = frame(opcode.ping, 'here?');
    const close = frame(opcode.close, closePayload(1000));
    const first = end.message(large);
    assert.equal(end.give(first, ping, ping, close), first.length + 2 * ping.length);
    assert.equal(end.give(close), 0);
    assert.deepEqual(end.lines(), ['sends pong "here?"', 'sends pong "here?"']);
    end.goOn();
    assert.equal(end.give(close), close.length);
    assert.deepEqual(end.lines(), [`binary ${showBytes(large)}`, 'sends close 1000 ""', 'closed 1000 ""']);
  });

  test('an owner that wants no messages gets it when it wants some', () => {
    const end = newEnd(1);
    end.give(end.message(large));
    const { size } = end.endpoint.inflating!.inflation;
    end.endpoint.acceptsMessages = false;
    end.give();
    assert.equal(end.endpoint.inflating!.inflation.size, size);
    end.endpoint.acceptsMessages = true;
    end.goOn();
    assert.deepEqual(end.lines(), [`binary ${showBytes(large)}`]);
  });

  test('it fails at the first invalid byte of UTF-8, and at the end of a message inside a character [7692-6.2-3]', () => {
    const early = Buffer.from(large);
    early[100_000] = 0xff;
    const cut = Buffer.concat([large.subarray(0, -2), Buffer.from('é').subarray(0, 1)]);
    for (const [text, slices] of [
      [early, 2],
      [cut, 100],
    ] as const) {
      const end = newEnd(slices);
      end.give(end.message(text, 'text'));
      assert.match(end.lines().join(), /^sends close 1007 .*closed 1007/);
      assert.equal(end.endpoint.inflating, undefined);
    }
  });

  test('a character may be cut by a slice', () => {
    const text = Buffer.from('日本語'.repeat(50_000));
    for (let offset = 0; offset < 3; offset++) {
      const end = newEnd(1);
      const shifted = Buffer.concat([Buffer.alloc(offset, 'a'), text]);
      end.give(end.message(shifted, 'text'));
      end.goOn();
      assert.deepEqual(end.lines(), [`text ${showBytes(shifted)}`]);
    }
  });

  test('the end of the connection, or our own close frame, gives it up, and its memory', () => {
    for (const stop of [endEndpoint, startClosing] satisfies ((endpoint: Endpoint) => void)[]) {
      const end = newEnd(1);
      end.give(end.message(large));
      const { inflation } = end.endpoint.inflating!;
      assert.notEqual(inflation.stream, undefined);
      stop(end.endpoint);
      end.give();
      assert.equal(end.endpoint.inflating, undefined);
      assert.deepEqual([inflation.stream, inflation.output.length], [undefined, 0]);
      assert.deepEqual(end.lines(), []);
    }
  });
});

test('after our close frame no message is inflated, as nobody hears it', () => {
  const end = newEnd(1);
  startClosing(end.endpoint);
  const noDeflate = frame(opcode.binary, Buffer.alloc(100, 0xff), compressed);
  end.give(noDeflate, frame(opcode.close, closePayload(1000)));
  assert.deepEqual(end.lines(), ['closed 1000 ""']);
});
