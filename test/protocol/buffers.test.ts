import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enlarge, giveBuffer, newBuffer, takeBuffer } from '../../src/protocol/buffers.ts';
import { bufferPoolSize } from '../../src/protocol/limits.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { residentMemory } from '../support/processState.ts';

const MiB = 1024 * 1024;

// First, because the allocator may serve large blocks from what later tests have freed, and would keep them.
test('large buffers that are given back beyond the bound are freed at once', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const many = Array.from({ length: 10 }, () => takeBuffer(8 * MiB).fill(1));
  const before = residentMemory(process.pid);
  for (const buffer of many) giveBuffer(buffer);
  const freed = before - residentMemory(process.pid);
  assert.ok(freed >= 10 * 8 * MiB - bufferPoolSize, `${freed}`);
  // Empties the pool for the other tests.
  for (const _ of many) takeBuffer(8 * MiB);
});

test('a buffer has at least the size asked for, with room for what zlib appends to a power of two', () => {
  for (const size of [0, 1, 1000, 32_768, 32_769, 65_536, 65_542, 65_601, 100_000, MiB + 1, 16 * MiB + 6]) {
    assert.ok(takeBuffer(size).length >= size, `${size}`);
  }
  assert.ok(takeBuffer(16 * MiB + 6).length < 17 * MiB);
});

test('a buffer that is given back is the next one of its size, and is in use only once', () => {
  const first = takeBuffer(MiB);
  giveBuffer(first);
  assert.equal(takeBuffer(MiB - 5), first);
  assert.notEqual(takeBuffer(MiB), first);
});

test('short buffers, and those from elsewhere, are left to the collector', () => {
  const short = takeBuffer(1000);
  giveBuffer(short);
  assert.notEqual(takeBuffer(1000), short);
  const other = Buffer.alloc(MiB);
  giveBuffer(other);
  assert.notEqual(takeBuffer(MiB - 100), other);
});

test('no more is kept than a bound', () => {
  const many = Array.from({ length: 100 }, () => takeBuffer(MiB));
  for (const buffer of many) giveBuffer(buffer);
  const again = Array.from({ length: 100 }, () => takeBuffer(MiB));
  const kept = again.filter(buffer => many.includes(buffer)).length;
  assert.ok(kept > 0 && kept * MiB <= bufferPoolSize, `${kept}`);
});

test('a large buffer takes no memory where nothing is written', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const before = residentMemory(process.pid);
  const many = Array.from({ length: 20 }, () => newBuffer(16 * MiB));
  const grown = residentMemory(process.pid) - before;
  assert.equal(many.length, 20);
  assert.ok(grown < 32 * MiB, `${grown}`);
});

test('an enlarged buffer begins with the bytes that were used; a large one grows where it is', () => {
  const sizes = [100, 5000, 100_000, MiB, 4 * MiB, 5 * MiB, 16 * MiB, 33 * MiB, 70 * MiB];
  const valueAt = (at: number) => sizes.findIndex(size => at < size);
  let buffer: Buffer = Buffer.alloc(0);
  let used = 0;
  for (const size of sizes) {
    const before = buffer;
    buffer = enlarge(buffer, used, size);
    // Node's pool holds small ones, next to each other; how small depends on its version.
    if (size >= 100_000)
      assert.equal(buffer.buffer === before.buffer, size === 5 * MiB || size === 16 * MiB, `${size}`);
    assert.ok(buffer.length >= size);
    buffer.fill(valueAt(used), used, size);
    used = size;
    for (let at = 0; at < used; at += 997) assert.equal(buffer[at], valueAt(at));
  }
});

test('a small buffer never grows over its neighbours in the pool of Node', () => {
  const small = Buffer.allocUnsafe(10);
  const neighbour = Buffer.allocUnsafe(10).fill(1);
  enlarge(small, 10, 100).fill(2);
  assert.deepEqual(neighbour, Buffer.alloc(10, 1));
});

test('a large buffer that is given back is the next one of its size', () => {
  // What the tests before have given back takes the room of it.
  for (let i = 0; i < 100; i++) takeBuffer(MiB);
  const large = takeBuffer(16 * MiB);
  giveBuffer(large);
  assert.equal(takeBuffer(16 * MiB), large);
});

test('a large buffer serves the next large message of any size, and the pool counts all of its memory', () => {
  for (let i = 0; i < 100; i++) takeBuffer(8 * MiB);
  const large = takeBuffer(16 * MiB);
  giveBuffer(large);
  const again = takeBuffer(5 * MiB);
  assert.equal(again, large);
  const other = takeBuffer(5 * MiB);
  assert.ok(other.length < 9 * MiB);
  giveBuffer(other);
  const longer = takeBuffer(16 * MiB);
  assert.equal(longer.buffer, other.buffer);
  assert.equal(longer.length, large.length);
});

test('a long buffer is freed at once if the pool is full', () => {
  const many = Array.from({ length: 100 }, () => takeBuffer(MiB));
  for (const buffer of many) giveBuffer(buffer);
  const freed = many.filter(({ length }) => length === 0).length;
  assert.equal(freed, 100 - Math.floor(bufferPoolSize / (MiB + 64)));
});
