/**
 * The frames queued for a polling client, as the server encoded them. Messages are numbered by counting, and become JSON only
 * when a request collects them (answers.ts).
 *
 * Clients share the frames of a fan-out. The backlog refers to ranges of persistent chunks, and copies ranges of the turn's
 * arena into a block, once a turn. A block grows with the next frames of its clients: while two clients get the same frames
 * in the same order, they refer to the same bytes, across any number of turns. So 10,000 clients in one room take the memory
 * of one client, plus a range each.
 */

import { firstBacklogBlock, maxBacklogBlock, sharedBacklogBlock } from '../../protocol/limits.ts';
import { type MessagePayload, readSentFrame, summarizeFrames } from '../../protocol/polling.ts';
import {
  type ArenaUse,
  type Chunk,
  keepForever,
  newArenaUse,
  newLastingChunk,
  pin,
  shareOfChunk,
  unpin,
} from '../../records/arena.ts';

/** Memory that the ranges of several backlogs refer to. */
interface Block {
  /** Pinned once for each range. */
  readonly chunk: Chunk;
  readonly bytes: Buffer;
  /** The offset for the next frames. */
  used: number;
  /** The number of ranges that refer to this block. */
  holders: number;
}

interface Range {
  readonly block: Block;
  start: number;
  end: number;
  next: Range | undefined;
  /** The copy that this range ends with, while the range may still be extended. */
  last: CopiedFrames | undefined;
}

/** Frames that were sent to one or more clients in this turn. */
interface Frames {
  readonly messages: number;
  readonly closing: string | undefined;
  /** The first block that these frames were copied into, with the offset and the copy. */
  block: Block | undefined;
  at: number;
  copy: CopiedFrames | undefined;
}

/** Frames in a block, linked to the frames that were copied after them. */
interface CopiedFrames {
  readonly frames: Frames;
  next: CopiedFrames | undefined;
}

export interface Backlog {
  /** The arena accounting of its server. */
  readonly arena: ArenaUse;
  /** The first range: always present, but it may be empty. */
  head: Range;
  tail: Range;
  /** The number of the first message; `lastSeq + 1` if there is none. */
  firstSeq: number;
  lastSeq: number;
  /** Bytes of the frames queued, and of those removed since the backlog was created. */
  size: number;
  removed: number;
  /** The number of ranges. */
  rangeCount: number;
  /** The close frame, as JSON shows it, once one was added. */
  closing: string | undefined;
  /** For `recentShareOf`: a result of `shareOf`, the backlog's size at that time, and the calls since. */
  share: number;
  sizeOfShare: number;
  shareAge: number;
}

let backlogCount = 0;

const noBlock = newBlock(newLastingChunk(newArenaUse(), 0));

function newBlock(chunk: Chunk, used = 0): Block {
  return { chunk, bytes: chunk.bytes, used, holders: 0 };
}

function newRange(block: Block, start: number, end: number, last?: CopiedFrames): Range {
  return { block, start, end, next: undefined, last };
}

export function newBacklog(arena: ArenaUse): Backlog {
  const range = newRange(noBlock, 0, 0);
  return {
    arena,
    head: range,
    tail: range,
    firstSeq: 1,
    lastSeq: 0,
    size: 0,
    removed: 0,
    rangeCount: 0,
    closing: undefined,
    share: 0,
    sizeOfShare: 0,
    // An eviction computes an eighth of all shares, not all of them in the same turn.
    shareAge: backlogCount++ % maxShareAge,
  };
}

/**
 * Adds the whole frames `[start, end)` of the chunk.
 * @param epoch of the arena, within which the bytes of a chunk do not change
 */
export function addFrames(backlog: Backlog, chunk: Chunk, start: number, end: number, epoch: number): void {
  const size = end - start;
  if (chunk.isPersistent && 2 * size >= chunk.bytes.length) {
    const { messages, closing } = summarizeFrames(chunk.bytes, start, end);
    addToTotals(backlog, size, messages, closing);
    // An answer in progress may still read frames after their removal.
    keepForever(chunk);
    addRange(backlog, newRange(blockOf(chunk), start, end));
    return;
  }
  const frames = framesAt(chunk.bytes, start, end, epoch);
  addToTotals(backlog, size, frames.messages, frames.closing);
  copyFrames(backlog, frames, chunk.bytes, start, end);
}

function addToTotals(backlog: Backlog, size: number, messages: number, closing: string | undefined): void {
  backlog.size += size;
  backlog.lastSeq += messages;
  backlog.closing = closing ?? backlog.closing;
}

/** Stops extending the last range. Called when no frames will be added for a while, which ends the sharing with others. */
export function pauseBacklog({ tail }: Backlog): void {
  tail.last = undefined;
}

function copyFrames(backlog: Backlog, frames: Frames, bytes: Buffer, start: number, end: number): void {
  const { tail } = backlog;
  const { block, last } = tail;
  const size = end - start;
  if (last?.next?.frames === frames) {
    // Another client got the same frames in the same order: extend the range over its copy.
    tail.end += size;
    tail.last = last.next;
  } else if (last !== undefined && last.next === undefined && block.bytes.length - block.used >= size) {
    last.next = copyInto(block, frames, bytes, start, end);
    tail.end += size;
    tail.last = last.next;
  } else {
    if (frames.block === undefined) {
      const length = Math.max(lengthAfter(tail), size);
      copyInto(newBlock(newLastingChunk(backlog.arena, length)), frames, bytes, start, end);
    }
    addRange(backlog, newRange(frames.block!, frames.at, frames.at + size, frames.copy));
  }
}

/**
 * The length of the block after this range. A block of one client doubles. After a shared block, the frames may be for one
 * client alone, so the next block is short; if another client already got different frames, it has the minimum length.
 */
function lengthAfter({ block, last }: Range): number {
  if (last?.next !== undefined) return firstBacklogBlock;
  return Math.max(
    firstBacklogBlock,
    Math.min(block.holders > 1 ? sharedBacklogBlock : maxBacklogBlock, 2 * block.bytes.length),
  );
}

function copyInto(block: Block, frames: Frames, bytes: Buffer, start: number, end: number): CopiedFrames {
  const copy: CopiedFrames = { frames, next: undefined };
  if (frames.block === undefined) {
    frames.block = block;
    frames.at = block.used;
    frames.copy = copy;
  }
  block.used += bytes.copy(block.bytes, block.used, start, end);
  return copy;
}

function addRange(backlog: Backlog, range: Range): void {
  range.block.holders++;
  pin(range.block.chunk);
  backlog.rangeCount++;
  backlog.tail.next = range;
  backlog.tail = range;
}

/** The blocks for persistent chunks, which are always full. */
const persistentBlocks = new WeakMap<Chunk, Block>();

function blockOf(chunk: Chunk): Block {
  const known = persistentBlocks.get(chunk);
  if (known !== undefined) return known;
  const block = newBlock(chunk, chunk.bytes.length);
  persistentBlocks.set(chunk, block);
  return block;
}

/** The frames of this epoch of the arena, by their buffer and their position in it. */
const sentFrames = new Map<Buffer, Map<number, Frames>>();
let sentEpoch = 0;
/** Larger than any copied range, so that `start * sizeLimit + size` is a unique key. */
const sizeLimit = 2 ** 20;

function framesAt(bytes: Buffer, start: number, end: number, epoch: number): Frames {
  if (epoch !== sentEpoch) sentFrames.clear();
  sentEpoch = epoch;
  let ranges = sentFrames.get(bytes);
  if (ranges === undefined) {
    ranges = new Map();
    sentFrames.set(bytes, ranges);
  }
  const key = start * sizeLimit + end - start;
  let frames = ranges.get(key);
  if (frames === undefined) {
    frames = { ...summarizeFrames(bytes, start, end), block: undefined, at: 0, copy: undefined };
    ranges.set(key, frames);
  }
  return frames;
}

/** Removes the messages up to `seq`, which the client has acknowledged. */
export function removeUntil(backlog: Backlog, seq: number): void {
  while (backlog.firstSeq <= seq) {
    const { block, start, end } = backlog.head;
    if (start === end) {
      dropHead(backlog);
      continue;
    }
    const at = readSentFrame(skipped, block.bytes, start, end);
    const next = at < 0 ? ~at : at;
    backlog.head.start = next;
    backlog.size -= next - start;
    backlog.removed += next - start;
    if (at >= 0) backlog.firstSeq++;
  }
  while (backlog.head.start === backlog.head.end && backlog.head.block !== noBlock) dropHead(backlog);
  skipped.bytes = noBlock.bytes;
}

const skipped: MessagePayload = { isText: false, bytes: noBlock.bytes, from: 0, to: 0 };

function dropHead(backlog: Backlog): void {
  const { head } = backlog;
  if (head.block !== noBlock) {
    head.block.holders--;
    unpin(head.block.chunk);
    backlog.rangeCount--;
  }
  // An answer in progress may still read the last range, and continues at its `next`.
  if (head === backlog.tail) {
    head.next = newRange(noBlock, 0, 0);
    backlog.tail = head.next;
  }
  backlog.head = head.next!;
}

/** Removes all messages. */
export function clearBacklog(backlog: Backlog): void {
  while (backlog.head.block !== noBlock || backlog.head !== backlog.tail) dropHead(backlog);
  backlog.removed += backlog.size;
  backlog.size = 0;
  backlog.firstSeq = backlog.lastSeq + 1;
}

/** Bytes that V8 takes for a range, with its part of the copies and blocks. */
const rangeOverhead = 100;

/** Bytes of memory besides the frames, which the arena counts. */
export function overheadOf({ rangeCount }: Backlog): number {
  return rangeCount * rangeOverhead;
}

/** This backlog's part of the memory of its frames, which other backlogs may share. */
export function shareOf({ head }: Backlog): number {
  let share = 0;
  for (let range: Range | undefined = head; range !== undefined; range = range.next) {
    if (range.block !== noBlock) share += shareOfChunk(range.block.chunk);
  }
  return share;
}

/** Calls of `recentShareOf` between two computations. */
const maxShareAge = 8;

/**
 * A recent result of `shareOf`. It is computed again if the size has doubled or halved, and at every eighth call, because other
 * backlogs may have dropped their frames: the ranges of ten thousand sessions take several milliseconds to visit.
 */
export function recentShareOf(backlog: Backlog): number {
  const { size, sizeOfShare } = backlog;
  if (++backlog.shareAge >= maxShareAge || size > 2 * sizeOfShare || 2 * size < sizeOfShare) {
    backlog.share = shareOf(backlog);
    backlog.sizeOfShare = size;
    backlog.shareAge = 0;
  }
  return backlog.share;
}

/**
 * A position in a backlog, just after the message `seq`, with the payload of that message. Frames that are removed from the
 * backlog stay readable for the cursor.
 */
export interface Cursor extends MessagePayload {
  range: Range;
  at: number;
  seq: number;
  /** Bytes of frames before the cursor since the backlog was created. */
  passed: number;
}

/** A cursor before the first message. */
export function newCursor({ head, firstSeq, removed }: Backlog): Cursor {
  const none: MessagePayload = { isText: false, bytes: noBlock.bytes, from: 0, to: 0 };
  return { range: head, at: head.start, seq: firstSeq - 1, passed: removed, ...none };
}

/** Advances to the next message, up to `lastSeq`. @returns false if there is none */
export function nextMessage(cursor: Cursor, lastSeq: number): boolean {
  while (cursor.seq < lastSeq) {
    const { range, at } = cursor;
    if (at === range.end) {
      if (range.next === undefined) return false;
      cursor.range = range.next;
      cursor.at = range.next.start;
    } else {
      const next = readSentFrame(cursor, range.block.bytes, at, range.end);
      cursor.at = next < 0 ? ~next : next;
      cursor.passed += cursor.at - at;
      if (next >= 0) {
        cursor.seq++;
        return true;
      }
    }
  }
  return false;
}
