/** The backlog of a polling client: no frame is lost or reordered, and a fan-out is stored once. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Chunk, newArenaUse, newLastingChunk } from '../../../src/records/arena.ts';
import {
  addFrames,
  type Backlog,
  clearBacklog,
  newBacklog,
  newCursor,
  nextMessage,
  overheadOf,
  pauseBacklog,
  recentShareOf,
  removeUntil,
  shareOf,
} from '../../../src/wires/polling/backlog.ts';
import { newRandom } from '../../support/random.ts';
import { frame, opcode } from '../../support/rawFrame.ts';

const memoryOf = (backlog: Backlog) => shareOf(backlog) + overheadOf(backlog);

const arena = newArenaUse();
const unmasked = { key: null };
const KiB = 1024;

/** A chunk of the arena, whose bytes the next turn reuses. */
function newTurnChunk(size: number): Chunk {
  return { ...newLastingChunk(arena, size), isPersistent: false };
}

/** Writes a frame into the chunk. @returns its range */
function put(chunk: Chunk, text: string, kind: number = opcode.text): [Chunk, number, number] {
  const bytes = frame(kind, text, unmasked);
  bytes.copy(chunk.bytes, chunk.used);
  chunk.used += bytes.length;
  return [chunk, chunk.used - bytes.length, chunk.used];
}

function texts(backlog: Backlog): string[] {
  const cursor = newCursor(backlog);
  const found: string[] = [];
  while (nextMessage(cursor, backlog.lastSeq)) {
    assert.equal(cursor.seq, backlog.firstSeq + found.length);
    found.push(cursor.bytes.toString('utf8', cursor.from, cursor.to));
  }
  return found;
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);

describe('the backlog of a polling client', () => {
  test('keeps all frames in order, whatever others get and whatever is acknowledged', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = newRandom(seed);
      const clients = Array.from({ length: 6 }, () => ({
        backlog: newBacklog(arena),
        expected: [] as string[],
      }));
      const chunk = newTurnChunk(64 * KiB);
      for (let turn = 1; turn <= 200; turn++) {
        chunk.bytes.fill(0xee);
        chunk.used = random.below(1000);
        for (let sends = random.below(4); sends > 0; sends--) {
          const text = `${turn}-${sends}`.padEnd(random.below(random.oneIn(9) ? 9000 : 60), '.');
          const isLasting = random.oneIn(5);
          const sent = put(isLasting ? newLastingChunk(arena, text.length + 10) : chunk, text);
          const isForAll = random.oneIn(2);
          for (const { backlog, expected } of clients) {
            if (!isForAll && !random.oneIn(3)) continue;
            addFrames(backlog, ...sent, turn);
            expected.push(text);
          }
        }
        for (const { backlog, expected } of clients) {
          if (random.oneIn(20)) pauseBacklog(backlog);
          if (random.oneIn(40)) addFrames(backlog, ...put(chunk, '', opcode.ping), turn);
          if (!random.oneIn(10)) continue;
          const some = random.below(expected.length + 1);
          removeUntil(backlog, backlog.firstSeq + some - 1);
          expected.splice(0, some);
        }
      }
      for (const { backlog, expected } of clients) {
        assert.deepEqual(texts(backlog), expected, `seed ${seed}`);
        removeUntil(backlog, backlog.lastSeq);
        assert.deepEqual(texts(backlog), []);
      }
    }
  });

  test('shares its memory with clients that get the same frames, within a turn and across turns', () => {
    const backlogs = Array.from({ length: 1000 }, () => newBacklog(arena));
    const chunk = newTurnChunk(1 * KiB);
    for (let turn = 1; turn <= 2000; turn++) {
      chunk.used = 0;
      const sent = put(chunk, `${turn % 10}`);
      for (const backlog of backlogs) addFrames(backlog, ...sent, turn);
    }
    const each = backlogs.map(memoryOf);
    // 6,000 bytes of frames; copied for each client, they would be six million. The rest is ranges.
    assert.ok(sum(each) < 1_100_000, `${sum(each)}`);
    assert.ok(Math.min(...each) >= 100, 'no client holds nothing');
    for (const backlog of backlogs.slice(1)) removeUntil(backlog, 2000);
    assert.ok(memoryOf(backlogs[0]!) > 6000, 'the last one has it alone');
    assert.equal(texts(backlogs[0]!).length, 2000);
  });

  test('shares memory again after each client got a frame of its own', () => {
    const backlogs = Array.from({ length: 1000 }, () => newBacklog(arena));
    const chunk = newTurnChunk(64 * KiB);
    for (let turn = 1; turn <= 5; turn++) {
      chunk.used = 0;
      for (const backlog of backlogs) addFrames(backlog, ...put(chunk, 'yours'), turn);
      const sent = put(chunk, 'x'.repeat(2000));
      for (const backlog of backlogs) addFrames(backlog, ...sent, turn);
    }
    const all = sum(backlogs.map(memoryOf));
    assert.ok(all < 4_000_000, `${all}: 10,000,000 bytes were sent`);
  });

  test('refers to a large frame without copying it', () => {
    const chunk = newLastingChunk(arena, 1024 * KiB + 10);
    const sent = put(chunk, 'x'.repeat(1024 * KiB));
    const backlogs = Array.from({ length: 100 }, () => newBacklog(arena));
    for (const backlog of backlogs) addFrames(backlog, ...sent, 1);
    assert.ok(sum(backlogs.map(memoryOf)) < 1100 * KiB);
    const cursor = newCursor(backlogs[0]!);
    nextMessage(cursor, 1);
    assert.equal(cursor.bytes, chunk.bytes);
  });

  test('does not keep a large chunk for a short frame in it', () => {
    const chunk = newLastingChunk(arena, 1024 * KiB);
    const backlog = newBacklog(arena);
    addFrames(backlog, ...put(chunk, 'short'), 1);
    assert.ok(memoryOf(backlog) < 1 * KiB);
  });

  test('takes little memory for a client that alone gets short messages', () => {
    const chunk = newTurnChunk(1 * KiB);
    const backlog = newBacklog(arena);
    let frames = 0;
    for (let turn = 1; turn <= 20_000; turn++) {
      chunk.used = 0;
      const sent = put(chunk, 'x');
      frames += sent[2] - sent[1];
      addFrames(backlog, ...sent, turn);
      assert.ok(memoryOf(backlog) < 3 * frames + 400, `${memoryOf(backlog)} for ${frames}`);
    }
  });

  test('holds no memory after all messages are acknowledged or removed', () => {
    for (const forget of [clearBacklog, (backlog: Backlog) => removeUntil(backlog, backlog.lastSeq)]) {
      const backlog = newBacklog(arena);
      const chunk = newTurnChunk(10 * KiB);
      assert.equal(memoryOf(backlog), 0);
      addFrames(backlog, ...put(chunk, 'x'), 1);
      addFrames(backlog, ...put(newLastingChunk(arena, 2000), 'y'.repeat(1990)), 1);
      addFrames(backlog, ...put(chunk, 'z'), 1);
      forget(backlog);
      assert.deepEqual([memoryOf(backlog), backlog.size, texts(backlog)], [0, 0, []]);
      addFrames(backlog, ...put(chunk, 'goes on'), 1);
      assert.deepEqual([backlog.firstSeq, texts(backlog)], [4, ['goes on']]);
    }
  });

  test('keeps frames that an answer still has to write after they are removed', () => {
    const backlog = newBacklog(arena);
    const chunk = newTurnChunk(1 * KiB);
    for (const text of ['one', 'two', 'three']) addFrames(backlog, ...put(chunk, text), 1);
    const cursor = newCursor(backlog);
    nextMessage(cursor, 3);
    clearBacklog(backlog);
    addFrames(backlog, ...put(chunk, 'four'), 1);
    const rest: string[] = [];
    while (nextMessage(cursor, backlog.lastSeq))
      rest.push(cursor.bytes.toString('utf8', cursor.from, cursor.to));
    assert.deepEqual(rest, ['two', 'three', 'four']);
  });
});

test('a recent share follows the backlog’s own size at once, and other backlogs after a few calls', () => {
  const chunk = newLastingChunk(arena, 1000);
  frame(opcode.binary, Buffer.alloc(900), unmasked).copy(chunk.bytes);
  const [backlog, other] = [newBacklog(arena), newBacklog(arena)];
  assert.equal(recentShareOf(backlog), 0);
  for (const one of [backlog, other]) addFrames(one, chunk, 0, 904, 1);
  assert.equal(recentShareOf(backlog), 500);
  clearBacklog(other);
  const shares = Array.from({ length: 8 }, () => recentShareOf(backlog));
  assert.deepEqual(shares.slice(0, 7), Array(7).fill(500));
  assert.equal(shares[7], 1000);
  clearBacklog(backlog);
  assert.equal(recentShareOf(backlog), 0);
});

test('shared frames are counted once, and in the end by the last backlog that has them', () => {
  const before = arena.held;
  const chunk = newLastingChunk(arena, 100_000);
  frame(opcode.binary, Buffer.alloc(99_990 - 6), { key: null }).copy(chunk.bytes);
  const backlogs = Array.from({ length: 50 }, () => newBacklog(arena));
  const end = 99_990 - 6 + 10;
  for (const backlog of backlogs) addFrames(backlog, chunk, 0, end, 1);
  assert.equal(arena.held - before, 100_000);
  assert.ok(shareOf(backlogs[0]!) <= 100_000 / 50);
  for (const backlog of backlogs.slice(1)) clearBacklog(backlog);
  assert.equal(arena.held - before, 100_000);
  assert.equal(shareOf(backlogs[0]!), 100_000);
  removeUntil(backlogs[0]!, 1);
  assert.equal(arena.held, before);
});
