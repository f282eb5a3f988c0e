import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ProtocolError } from '../../src/protocol/codes.ts';
import { maxPacketBlob } from '../../src/protocol/limits.ts';
import { newPacket, readPacket, showPacket, writePacket } from '../../src/protocol/tpacket.ts';
import { packetBytes } from '../support/chatClient.ts';

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

test('a written packet can be read at any offset, and no other bytes change', () => {
  const blobs = fc.uint8Array({ maxLength: 100 });
  fc.assert(
    fc.property(int32, int32, int32, int32, blobs, fc.nat({ max: 9 }), (cmd, uid, p1, p2, blob, at) => {
      const bytes = Buffer.alloc(200, 0xaa);
      const end = writePacket(bytes, at, cmd, uid, p1, p2, blob);
      assert.deepEqual(bytes.subarray(at, end), packetBytes(cmd, blob, { uid, p1, p2 }));
      assert.ok(bytes.subarray(0, at).every(byte => byte === 0xaa));
      assert.ok(bytes.subarray(end).every(byte => byte === 0xaa));
      const packet = newPacket();
      assert.equal(readPacket(packet, bytes, at, bytes.length), end - at);
      const { start, end: blobEnd, bytes: lent, ...numbers } = packet;
      assert.deepEqual(numbers, { cmd, uid, p1, p2 });
      assert.deepEqual(Buffer.from(lent.subarray(start, blobEnd)), Buffer.from(blob));
    }),
    { seed: 6455 },
  );
});

test('an incomplete packet of any length is awaited', () => {
  const whole = packetBytes(7, 'hello', { uid: 1 });
  for (let end = 0; end < whole.length; end++) assert.equal(readPacket(newPacket(), whole, 0, end), 0);
  assert.equal(readPacket(newPacket(), whole, 0, whole.length), 29);
});

const refused = (bytes: Buffer, reason: RegExp) =>
  assert.throws(
    () => readPacket(newPacket(), bytes, 0, bytes.length),
    (error: unknown) => error instanceof ProtocolError && error.code === 1008 && reason.test(error.message),
  );

test('a wrong signature is refused at its first wrong byte', () => {
  for (const [text, at] of [
    ['X', 1],
    ['EX', 2],
    ['Ejx', 3],
    ['Ej8A', 4],
    ['ej8@', 1],
  ] as const) {
    refused(Buffer.from(text.slice(0, at)), /signature/);
  }
});

test('an invalid size is refused before its bytes arrive', () => {
  for (const size of [0, 1, 23, -1, -24, -(2 ** 31)]) {
    refused(packetBytes(7, '', { size }).subarray(0, 12), /at least 24 bytes/);
  }
  for (const size of [24 + maxPacketBlob + 1, 2 ** 31 - 1]) {
    refused(packetBytes(7, '', { size }).subarray(0, 12), /carries at most/);
  }
  assert.equal(readPacket(newPacket(), packetBytes(7, '', { size: 24 + maxPacketBlob }), 0, 24), 0);
});

test('any bytes are a packet, the start of one, or refused', () => {
  const lengths = fc.constantFrom(0, 4, 12, 24, 30);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), lengths, (tail, kept) => {
      const bytes = Buffer.concat([packetBytes(0, 'abcdef').subarray(0, kept), tail]);
      try {
        const size = readPacket(newPacket(), bytes, 0, bytes.length);
        assert.ok(size === 0 || (size >= 24 && size <= bytes.length));
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
      }
    }),
    { seed: 6455 },
  );
});

test('any packet is shown on one line', () => {
  const show = (bytes: Buffer) => {
    const packet = newPacket();
    readPacket(packet, bytes, 0, bytes.length);
    return showPacket(packet);
  };
  assert.equal(show(packetBytes(7, 'hello', { uid: -1, p1: 4096 })), 'NEW_MSG uid=-1 p1=4096 p2=0 "hello"');
  assert.equal(show(packetBytes(0)), 'NOP uid=0 p1=0 p2=0');
  assert.equal(show(packetBytes(99, '\r\n"')), 'cmd 99 uid=0 p1=0 p2=0 "\\r\\n\\""');
  assert.equal(show(packetBytes(-5, Buffer.from('ff', 'hex'))), 'cmd -5 uid=0 p1=0 p2=0 "\ufffd"');
});
