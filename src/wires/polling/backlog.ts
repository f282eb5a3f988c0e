/**
 * The frames that wait for a client over HTTP: bytes as the server wrote them, numbered by counting. JSON is made of them
 * only when a request collects them (answers.ts).
 *
 * Frames that are sent to many clients are shared. A range of a lasting chunk is referred to; one in the turn's memory is
 * copied, once a turn, into a block. A block goes on with whatever its clients get next: as long as two clients get the
 * same frames in the same order, they refer to the same bytes, in however many turns these came. So 10,000 clients that
 * hear one room take the memory of one, and a range each.
 */
import {
  type ArenaUse,
  type Chunk,
  newArenaUse,
  newLastingChunk,
  pin,
  shareOfChunk,
  unpin,
} from '../../core/arena.ts';
import { firstBacklogBlock, maxBacklogBlock, sharedBacklogBlock } from '../../protocol/limits.ts';
import { countFrames, type Payload, readSentFrame } from '../../protocol/polling.ts';

/** Memory that ranges of several backlogs refer to. */
interface Block {
  /** Pinned by each range that refers to it. */
  readonly chunk: Chunk;
  readonly bytes: Buffer;
  /** Where the next frames go. */
  used: number;
  /** Ranges that refer to it. */
  holders: number;
}

interface Range {
  readonly block: Block;
  start: number;
  end: number;
  next: Range | undefined;
  /** What was copied into the block last, where the range ends behind it. */
  last: Copy | undefined;
}

/** Frames that were sent in this turn, to one client or to several. */
interface Frames {
  readonly messages: number;
  readonly closing: string | undefined;
  /** The first block that has them, and where. */
  block: Block | undefined;
  at: number;
  copy: Copy | undefined;
}

/** Frames in a block, and those that were copied behind them. */
interface Copy {
  readonly frames: Frames;
  next: Copy | undefined;
}

export interface Backlog {
  /** Of its server. */
  readonly arena: ArenaUse;
  /** The first of its ranges, which is never missing, but may be empty. */
  head: Range;
  tail: Range;
  /** The number of the first message in it; one more than `lastSeq` when it is empty. */
  firstSeq: number;
  lastSeq: number;
  /** Bytes of frames, and bytes that were taken out at its front since it was made. */
  size: number;
  taken: number;
  /** How many ranges it has. */
  ranges: number;
  /** The end, once it was sent. */
  closing: string | undefined;
}

const noBlock = newBlock(newLastingChunk(newArenaUse(), 0));

function newBlock(chunk: Chunk, used = 0): Block {
  return { chunk, bytes: chunk.bytes, used, holders: 0 };
}

function newRange(block: Block, start: number, end: number, last?: Copy): Range {
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
    taken: 0,
    ranges: 0,
    closing: undefined,
  };
}

/** Adds the whole frames `[start, end)` of the chunk. @param epoch of the arena: within it the bytes of a chunk stay as they are */
export function addFrames(backlog: Backlog, chunk: Chunk, start: number, end: number, epoch: number): void {
  const size = end - start;
  if (chunk.isPersistent && 2 * size >= chunk.bytes.length) {
    const { messages, closing } = countFrames(chunk.bytes, start, end);
    count(backlog, size, messages, closing);
    addRange(backlog, newRange(blockOf(chunk), start, end));
    return;
  }
  const frames = framesAt(chunk.bytes, start, end, epoch);
  count(backlog, size, frames.messages, frames.closing);
  copyFrames(backlog, frames, chunk.bytes, start, end);
}

function count(backlog: Backlog, size: number, messages: number, closing: string | undefined): void {
  backlog.size += size;
  backlog.lastSeq += messages;
  backlog.closing = closing ?? backlog.closing;
}

/** Nothing is added for a while: what others get meanwhile is not noted for it. */
export function pauseBacklog({ tail }: Backlog): void {
  tail.last = undefined;
}

function copyFrames(backlog: Backlog, frames: Frames, bytes: Buffer, start: number, end: number): void {
  const { tail } = backlog;
  const { block, last } = tail;
  const size = end - start;
  if (last?.next?.frames === frames) {
    // Another client got the same before, and gets the same now.
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
 * The length of the block after this range. Blocks that a client fills alone grow. In a shared one, the next frames may be for
 * one of the clients alone, so they begin a short block; the shortest, if they are known not to be for all.
 */
function lengthAfter({ block, last }: Range): number {
  if (last?.next !== undefined) return firstBacklogBlock;
  return Math.max(
    firstBacklogBlock,
    Math.min(block.holders > 1 ? sharedBacklogBlock : maxBacklogBlock, 2 * block.bytes.length),
  );
}

function copyInto(block: Block, frames: Frames, bytes: Buffer, start: number, end: number): Copy {
  const copy: Copy = { frames, next: undefined };
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
  backlog.ranges++;
  backlog.tail.next = range;
  backlog.tail = range;
}

/** Lasting chunks as blocks that are full. */
const lasting = new WeakMap<Chunk, Block>();

function blockOf(chunk: Chunk): Block {
  const known = lasting.get(chunk);
  if (known !== undefined) return known;
  const block = newBlock(chunk, chunk.bytes.length);
  lasting.set(chunk, block);
  return block;
}

/** Frames of this epoch of the arena, by the bytes that they are in, and by where they are there. */
const sent = new Map<Buffer, Map<number, Frames>>();
let sentIn = 0;
/** A position and a size in one number: what is copied is at most as long as a slot of the arena (regions.ts). */
const sizes = 2 ** 20;

function framesAt(bytes: Buffer, start: number, end: number, epoch: number): Frames {
  if (epoch !== sentIn) sent.clear();
  sentIn = epoch;
  let ranges = sent.get(bytes);
  if (ranges === undefined) {
    ranges = new Map();
    sent.set(bytes, ranges);
  }
  const key = start * sizes + end - start;
  let frames = ranges.get(key);
  if (frames === undefined) {
    frames = { ...countFrames(bytes, start, end), block: undefined, at: 0, copy: undefined };
    ranges.set(key, frames);
  }
  return frames;
}

/** The client has all messages up to `seq`, which was sent. */
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
    backlog.taken += next - start;
    if (at >= 0) backlog.firstSeq++;
  }
  while (backlog.head.start === backlog.head.end && backlog.head.block !== noBlock) dropHead(backlog);
  skipped.bytes = noBlock.bytes;
}

const skipped: Payload = { isText: false, bytes: noBlock.bytes, from: 0, to: 0 };

function dropHead(backlog: Backlog): void {
  const { head } = backlog;
  if (head.block !== noBlock) {
    head.block.holders--;
    unpin(head.block.chunk);
    backlog.ranges--;
  }
  // Answers that are being written may refer to the last range: its `next` leads them on.
  if (head === backlog.tail) {
    head.next = newRange(noBlock, 0, 0);
    backlog.tail = head.next;
  }
  backlog.head = head.next!;
}

/** Forgets all messages. */
export function clearBacklog(backlog: Backlog): void {
  while (backlog.head.block !== noBlock || backlog.head !== backlog.tail) dropHead(backlog);
  backlog.taken += backlog.size;
  backlog.size = 0;
  backlog.firstSeq = backlog.lastSeq + 1;
}

/** Bytes of the objects for a range, for a copy, and for a block besides its content, in V8. */
const rangeOverhead = 100;

/** Bytes of memory that it holds besides frames, which the arena counts. */
export function overheadOf({ ranges }: Backlog): number {
  return ranges * rangeOverhead;
}

/** Its part of the frames' memory, which others may share. */
export function shareOf({ head }: Backlog): number {
  let share = 0;
  for (let range: Range | undefined = head; range !== undefined; range = range.next) {
    if (range.block !== noBlock) share += shareOfChunk(range.block.chunk);
  }
  return share;
}

/** A place in a backlog, behind the message `seq`, whose payload this is. What is removed meanwhile stays for it. */
export interface Cursor extends Payload {
  range: Range;
  at: number;
  seq: number;
  /** Bytes before it since the backlog was made. */
  passed: number;
}

/** Before the first message. */
export function newCursor({ head, firstSeq, taken }: Backlog): Cursor {
  const none: Payload = { isText: false, bytes: noBlock.bytes, from: 0, to: 0 };
  return { range: head, at: head.start, seq: firstSeq - 1, passed: taken, ...none };
}

/** Goes to the next message, up to `lastSeq`. @returns false where there is none */
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
