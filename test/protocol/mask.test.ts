import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import wabt from 'wabt';
import { advanceKey, copyInArena, ioArena, unmask, unmaskPlain } from '../../src/protocol/websocket/mask.ts';

const source = new URL('../../../src/protocol/websocket/', import.meta.url);
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

/** RFC 6455 §5.3, to the letter. */
function maskedByRfc(bytes: Uint8Array, key: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeInt32LE(key);
  return Buffer.from(bytes.map((byte, i) => byte ^ octets[i % 4]!));
}

/** Does it where the bytes are in the turn's memory and where they are not; both must be right. */
function assertUnmasks(masked: Uint8Array, offset: number, key: number): void {
  const expected = maskedByRfc(masked, key);
  const isAscii = expected.every(byte => byte < 0x80);
  const elsewhere = Buffer.alloc(offset + masked.length + 20, 0x5a);
  for (const [memory, run] of [
    [ioArena, unmask],
    [elsewhere, unmask],
    [Buffer.from(elsewhere), unmaskPlain],
    [ioArena, unmaskPlain],
  ] as const) {
    const end = offset + masked.length;
    memory.fill(0x5a, 0, end + 20);
    memory.set(masked, offset);
    const verdict = run(memory, offset, end, key);
    assert.deepEqual(memory.subarray(offset, end), expected);
    assert.equal(verdict === 0, isAscii, 'whether it is ASCII');
    assert.ok(
      memory.subarray(0, offset).every(byte => byte === 0x5a),
      'no byte before is touched',
    );
    assert.ok(
      memory.subarray(end, end + 20).every(byte => byte === 0x5a),
      'no byte behind is touched',
    );
  }
}

test("unmask decodes the RFC's example", () => {
  const bytes = Buffer.from('7f9f4d5158', 'hex');
  unmask(bytes, 0, 5, Buffer.from('37fa213d', 'hex').readInt32LE());
  assert.equal(bytes.toString(), 'Hello');
});

test('WebAssembly and plain JavaScript unmask as the RFC says, at every alignment and short length [5.3-a]', () => {
  for (let offset = 0; offset < 17; offset++) {
    for (let length = 0; length < 70; length++) {
      assertUnmasks(Buffer.alloc(length, 0x61), offset, (0x01020304 * (length + 1)) | 0);
    }
  }
});

test('WebAssembly and plain JavaScript unmask as the RFC says, for any bytes, offset and key', () => {
  const bytes = fc.uint8Array({ maxLength: 3000 });
  fc.assert(
    fc.property(bytes, fc.nat(64), int32, (masked, offset, key) => assertUnmasks(masked, offset, key)),
    { seed: 6455, numRuns: 300 },
  );
});

test('unmasking reports a single byte that is not ASCII, at any position', () => {
  const key = 0x7f010203;
  for (const length of [1, 15, 16, 17, 31, 33, 64, 67, 131]) {
    for (let at = 0; at < length; at++) {
      const text = Buffer.alloc(length, 0x41);
      assertUnmasks(maskedByRfc(text, key), 5, key);
      text[at] = 0x80;
      assertUnmasks(maskedByRfc(text, key), 5, key);
    }
  }
});

test('unmasking reaches the last byte of the memory', () => {
  const end = ioArena.length;
  const text = Buffer.from('the last bytes that there are');
  const key = -559038737;
  ioArena.set(maskedByRfc(text, key), end - text.length);
  assert.equal(unmask(ioArena, end - text.length, end, key), 0);
  assert.deepEqual(ioArena.subarray(end - text.length), text);
});

test('a payload unmasked in pieces, with the key advanced after each, is the same as in one piece', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(bytes, fc.array(fc.nat(50), { maxLength: 20 }), int32, (masked, pieces, key) => {
      const whole = maskedByRfc(masked, key);
      const inPieces = Buffer.from(masked);
      let at = 0;
      let turning = key;
      for (const piece of [...pieces, masked.length]) {
        const stop = Math.min(at + piece, masked.length);
        unmask(inPieces, at, stop, turning);
        turning = advanceKey(turning, stop - at);
        at = stop;
      }
      assert.deepEqual(inPieces, whole);
    }),
    { seed: 6455 },
  );
});

test('advanceKey rotates the key by octets, and four octets leave it unchanged', () => {
  assert.equal(advanceKey(0x44332211, 0), 0x44332211);
  assert.equal(advanceKey(0x44332211, 1), 0x11443322);
  assert.equal(advanceKey(0x44332211, 2), 0x22114433);
  assert.equal(advanceKey(0x44332211, 3), 0x33221144);
  assert.equal(advanceKey(0x44332211, 4), 0x44332211);
  assert.equal(advanceKey(0x44332211, 2 ** 32 + 1), 0x11443322);
});

test('the WebAssembly in mask.ts is the compiled unmask.wat', async () => {
  const { parseWat } = await wabt();
  const wat = readFileSync(new URL('unmask.wat', source), 'utf8');
  const compiled = Buffer.from(parseWat('unmask.wat', wat, { simd: true }).toBinary({}).buffer);
  const code = readFileSync(new URL('mask.ts', source), 'utf8');
  const literal = /const wasmModule = \[([^\]]*)\]/.exec(code)![1]!;
  const embedded = Buffer.from(literal.replace(/[^A-Za-z\d+/=]/g, ''), 'base64');
  assert.deepEqual(embedded, compiled);
});

test('bytes of any length are copied correctly from any place to any place of the arena', () => {
  for (const length of [0, 1, 3, 4, 5, 31, 32, 64, 65, 1000]) {
    for (const [from, to] of [
      [0, 5000],
      [5001, 3],
      [ioArena.length - length, 7],
      [7, ioArena.length - length],
    ] as const) {
      ioArena.fill(0xee);
      const bytes = Buffer.from(Array.from({ length }, (_, i) => i * 7));
      bytes.copy(ioArena, from);
      copyInArena(to, from, from + length);
      assert.deepEqual(ioArena.subarray(to, to + length), bytes);
      if (to + length < ioArena.length) assert.equal(ioArena[to + length], 0xee);
    }
  }
});
