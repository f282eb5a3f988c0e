import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ioArena } from '../../src/protocol/websocket/mask.ts';
import {
  type Chunk,
  newArenaUse,
  reserve,
  resetOutputArena,
  slotCount,
  slotSize,
} from '../../src/records/arena.ts';

const owner = newArenaUse();

interface Written {
  readonly chunk: Chunk;
  readonly start: number;
  readonly end: number;
  readonly byte: number;
}

function write(size: number, byte: number): Written {
  const chunk = reserve(owner, size);
  assert.ok(chunk.used >= chunk.start && chunk.end - chunk.used >= size, 'the room is there');
  const start = chunk.used;
  chunk.used += size;
  chunk.bytes.fill(byte, start, chunk.used);
  return { chunk, start, end: chunk.used, byte };
}

function assertUnharmed({ chunk, start, end, byte }: Written): void {
  for (let at = start; at < end; at++) {
    if (chunk.bytes[at] !== byte) assert.fail(`byte ${at} of [${start}, ${end}) was overwritten`);
  }
}

test('the next turn writes into the same output arena again', () => {
  resetOutputArena(owner);
  const first = write(100, 1);
  resetOutputArena(owner);
  const second = write(100, 2);
  assert.equal(first.chunk.bytes, ioArena);
  assert.deepEqual([second.chunk, second.start], [first.chunk, first.start]);
});

test('a slot is filled before the next one is used, and no write crosses its bounds', () => {
  resetOutputArena(owner);
  const written = Array.from({ length: 2 * slotCount }, () => write(slotSize / 2, 3));
  assert.equal(new Set(written.map(({ chunk }) => chunk)).size, slotCount);
  const extra = write(10, 4);
  assert.notEqual(extra.chunk.bytes, ioArena, 'a full arena is followed by memory outside of it');
  for (const one of [...written, extra]) assertUnharmed(one);
  resetOutputArena(owner);
});

test('a frame larger than a slot gets its own chunk, which survives the turn', () => {
  resetOutputArena(owner);
  const large = write(slotSize + 1, 5);
  assert.ok(large.chunk.isPersistent);
  resetOutputArena(owner);
  for (let i = 0; i < 3 * slotCount; i++) write(slotSize, 6);
  assertUnharmed(large);
  resetOutputArena(owner);
});

test('a pinned chunk is not reused until it is unpinned', () => {
  const turn = fc.record({
    sizes: fc.array(
      fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 1, max: 2000 }) },
        { weight: 2, arbitrary: fc.integer({ min: 60_000, max: slotSize + 10 }) },
      ),
      { maxLength: 12 },
    ),
    pin: fc.array(fc.nat(11), { maxLength: 3 }),
    unpin: fc.array(fc.nat(50), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(turn, { minLength: 1, maxLength: 40 }), turns => {
      const pinned: Written[] = [];
      let byte = 0;
      for (const { sizes, pin, unpin } of turns) {
        const written = sizes.map(size => write(size, ++byte & 0xff));
        for (const one of written) assertUnharmed(one);
        for (const one of pinned) assertUnharmed(one);
        for (const at of pin) {
          const one = written[at];
          if (one === undefined) continue;
          one.chunk.pins++;
          pinned.push(one);
        }
        for (const at of unpin) {
          const [one] = at < pinned.length ? pinned.splice(at, 1) : [];
          if (one !== undefined) one.chunk.pins--;
        }
        resetOutputArena(owner);
      }
      for (const { chunk } of pinned) chunk.pins--;
      resetOutputArena(owner);
    }),
    { seed: 6455, numRuns: 150 },
  );
  // All slots are there again: nothing was lost on the way.
  const slots = new Set<Chunk>();
  for (let i = 0; i < slotCount + 2; i++) slots.add(write(slotSize, 0).chunk);
  assert.equal([...slots].filter(({ bytes }) => bytes === ioArena).length, slotCount);
});
