import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  appendRange,
  type Chunk,
  clearQueue,
  detachFromArena,
  newArenaUse,
  newLastingChunk,
  newQueue,
  putInFlight,
  queuedRanges,
  type Range,
  releaseInFlight,
} from '../../src/records/arena.ts';

const owner = newArenaUse();

function turnChunk(text: string): Chunk {
  const bytes = Buffer.from(text);
  return {
    bytes,
    start: 0,
    end: bytes.length,
    used: bytes.length,
    pins: 0,
    isPersistent: false,
    isRecyclable: false,
    owner,
    copied: undefined,
  };
}

const textOf = (ranges: readonly Range[]) =>
  ranges.map(({ chunk, start, end }) => chunk.bytes.toString('latin1', start, end));

test('a range that starts where the last one ended is merged into it', () => {
  const queue = newQueue();
  const chunk = turnChunk('abcdefgh');
  appendRange(queue, chunk, 0, 3);
  appendRange(queue, chunk, 3, 5);
  assert.deepEqual(textOf(queuedRanges(queue)), ['abcde']);
  assert.equal(queue.earlier, undefined);
  appendRange(queue, chunk, 6, 8);
  appendRange(queue, turnChunk('abcdefghij'), 8, 10);
  assert.deepEqual(textOf(queuedRanges(queue)), ['abcde', 'gh', 'ij']);
  assert.equal(queue.size, 9);
});

test('ranges in flight are counted and pinned until their write completes, even if the queue is cleared', () => {
  const queue = newQueue();
  const [one, two] = [turnChunk('one'), turnChunk('two')];
  appendRange(queue, one, 0, 3);
  appendRange(queue, two, 0, 3);
  appendRange(queue, one, 0, 2);
  const ranges = queuedRanges(queue);
  clearQueue(queue);
  assert.equal(queue.size, 0);
  putInFlight(queue, ranges);
  assert.deepEqual([one.pins, two.pins, queue.size, queue.inFlightSize], [2, 1, 8, 8]);

  appendRange(queue, two, 1, 3);
  assert.equal(queue.size, 10);
  clearQueue(queue);
  assert.deepEqual([queue.size, queuedRanges(queue).length], [8, 0]);

  appendRange(queue, two, 1, 3);
  releaseInFlight(queue);
  releaseInFlight(queue);
  assert.deepEqual([one.pins, two.pins, queue.size, queue.inFlightSize], [0, 0, 2, 0]);
  assert.deepEqual(textOf(queuedRanges(queue)), ['wo']);
});

test('ranges detached from the arena keep their bytes when the arena is overwritten', () => {
  const queue = newQueue();
  const chunk = turnChunk('first second third');
  appendRange(queue, chunk, 0, 6);
  appendRange(queue, chunk, 13, 18);
  detachFromArena(queue, owner);
  chunk.bytes.fill('x');
  assert.deepEqual(textOf(queuedRanges(queue)), ['first third']);

  const later = turnChunk(' fourth');
  appendRange(queue, later, 0, 7);
  detachFromArena(queue, owner);
  later.bytes.fill('x');
  assert.deepEqual(
    textOf(queuedRanges(queue)),
    ['first third fourth'],
    'later turns append to the same memory',
  );
  assert.equal(queue.size, 18);
  assert.equal(chunk.pins + later.pins, 0);
});

test('a large frame for many recipients is shared by their queues, not copied', () => {
  const large = newLastingChunk(owner, 100_000);
  large.bytes.fill('L');
  large.used = large.end;
  const queues = [newQueue(), newQueue()];
  for (const queue of queues) {
    const small = turnChunk('small');
    appendRange(queue, small, 0, 5);
    appendRange(queue, large, 0, 100_000);
    appendRange(queue, small, 0, 2);
    detachFromArena(queue, owner);
    small.bytes.fill('x');
    assert.deepEqual(textOf(queuedRanges(queue)), ['small', 'L'.repeat(100_000), 'sm']);
    assert.equal(queuedRanges(queue)[1]!.chunk, large);
  }
});

test('a long backlog of small messages takes at most twice the memory of its bytes', () => {
  const queue = newQueue();
  const chunk = turnChunk('0123456789');
  for (let i = 0; i < 10_000; i++) {
    appendRange(queue, chunk, 0, 10);
    detachFromArena(queue, owner);
  }
  assert.equal(queue.size, 100_000);
  const chunks = new Set(queuedRanges(queue).map(range => range.chunk));
  const held = [...chunks].reduce((sum, { bytes }) => sum + bytes.length, 0);
  assert.ok(held <= 2 * queue.size, `${held} bytes hold ${queue.size}`);
  assert.equal(textOf(queuedRanges(queue)).join(''), '0123456789'.repeat(10_000));
});

test('short messages between long ones take at most four times the memory of their bytes', () => {
  const arena = newArenaUse();
  const [short, long] = [turnChunk('0123456789'), turnChunk('L'.repeat(10_000))];
  const queue = newQueue();
  for (let i = 0; i < 100; i++) {
    appendRange(queue, short, 0, 10);
    appendRange(queue, long, 0, 10_000);
    detachFromArena(queue, arena);
  }
  const ownMemory = arena.held - 10_000;
  assert.ok(ownMemory <= 4 * 1000, `${ownMemory} bytes hold 1000`);
  assert.equal(textOf(queuedRanges(queue)).join(''), `0123456789${'L'.repeat(10_000)}`.repeat(100));
});

test('a thousand clients that are each behind by one short message take half a kilobyte each', () => {
  const arena = newArenaUse();
  const chunk = turnChunk('0123456789');
  for (const queue of Array.from({ length: 1000 }, newQueue)) {
    appendRange(queue, chunk, 0, 10);
    detachFromArena(queue, arena);
  }
  assert.equal(arena.held, 512 * 1000);
});

test('slow recipients of a long fan-out share one copy of it, and none of them appends to it', () => {
  const arena = newArenaUse();
  const chunk = turnChunk('x'.repeat(10_000) + 'y'.repeat(100));
  const queues = Array.from({ length: 100 }, newQueue);
  for (const queue of queues) {
    appendRange(queue, chunk, 0, 10_000);
    detachFromArena(queue, arena);
  }
  assert.equal(arena.held, 10_000);
  // One that left the room early has the beginning alone.
  const early = newQueue();
  appendRange(early, chunk, 0, 5000);
  detachFromArena(early, arena);
  assert.equal(arena.held, 10_000);
  const [first, second] = queues;
  appendRange(first!, chunk, 10_000, 10_100);
  detachFromArena(first!, arena);
  assert.deepEqual(textOf(queuedRanges(first!)), ['x'.repeat(10_000), 'y'.repeat(100)]);
  assert.deepEqual(textOf(queuedRanges(second!)), ['x'.repeat(10_000)]);
  for (const queue of [...queues, early]) clearQueue(queue);
  assert.equal(arena.held, 0);
});
