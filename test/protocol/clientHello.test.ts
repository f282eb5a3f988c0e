/** The length of a ClientHello, wherever its bytes are cut, and however they are divided into records. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isClientHelloWhole } from '../../src/protocol/clientHello.ts';
import { maxClientHello, maxTlsRecord } from '../../src/protocol/tlsLimits.ts';

/** A handshake message. @param announced the length in its header */
function message(size: number, { type = 1, announced = size } = {}): Buffer {
  const bytes = Buffer.alloc(4 + size, 7);
  bytes.writeUInt32BE(announced);
  bytes[0] = type;
  return bytes;
}

/** The message in records of `size` bytes each. */
function records(content: Buffer, size: number, type = 0x16): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < content.length; at += size) {
    const piece = content.subarray(at, at + size);
    pieces.push(Buffer.of(type, 3, 1, piece.length >> 8, piece.length & 0xff), piece);
  }
  return Buffer.concat(pieces);
}

const isWhole = (bytes: Buffer) => isClientHelloWhole(bytes, 0, bytes.length);

test('a ClientHello in one record or in several is whole with its last byte, and not before', () => {
  for (const size of [1, 2, 3, 5, 100, 1000]) {
    const bytes = records(message(300), size);
    for (let end = 0; end < bytes.length; end++) assert.equal(isWhole(bytes.subarray(0, end)), false);
    assert.equal(isWhole(bytes), true, `records of ${size} bytes`);
    assert.equal(isWhole(Buffer.concat([bytes, Buffer.from('more')])), true);
    const inside = Buffer.concat([Buffer.from('before'), bytes]);
    assert.equal(isClientHelloWhole(inside, 6, inside.length), true);
    assert.equal(isClientHelloWhole(inside, 6, inside.length - 1), false);
  }
  assert.equal(isWhole(records(message(maxClientHello), maxTlsRecord)), true);
});

test('a ClientHello that announces too much is refused as soon as its header shows it', () => {
  for (const announced of [maxClientHello + 1, 131_396, 2 ** 24 - 1]) {
    const bytes = records(message(2, { announced }), 6);
    assert.throws(() => isWhole(bytes), {
      message: `the first message has ${announced} bytes; the limit is 16384`,
    });
    assert.throws(() => isWhole(bytes.subarray(0, 9)), /the limit is 16384/);
    assert.equal(isWhole(bytes.subarray(0, 8)), false);
  }
});

test('bytes that cannot become a ClientHello are refused at once', () => {
  assert.throws(() => isWhole(records(message(50, { type: 2 }), 54).subarray(0, 6)), /of another type/);
  assert.throws(() => isWhole(records(message(50), 54, 0x17)), /a record of another type/);
  const begun = records(message(50).subarray(0, 10), 10);
  assert.throws(() => isWhole(Buffer.concat([begun, Buffer.of(0x15)])), /a record of another type/);
  assert.throws(() => isWhole(Buffer.of(0x16, 3, 1, 0, 0)), /a record is empty or too long/);
  assert.throws(
    () => isWhole(Buffer.concat([begun, Buffer.of(0x16, 3, 1, 0x40, 1)])),
    /a record is empty or too long/,
  );
});
