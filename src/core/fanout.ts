/**
 * Fan-out: one message for many connections. It is serialised once and, for clients that negotiated compression, compressed
 * once; every recipient's queue refers to the same bytes.
 *
 * Frames that are the same for all recipients take the fast path: they wait in `server.pendingFanout`, and reach the queues
 * together, when the turn ends or anything else is sent. Compressed frames are queued at once.
 */

import { noteRule } from '../diagnostics/closeReason.ts';
import { recordFanout, recordSent } from '../diagnostics/recorder.ts';
import { tapCompressed } from '../diagnostics/tap.ts';
import { size } from '../options/values.ts';
import { CloseCode, Opcode } from '../protocol/codes.ts';
import { maxAlwaysCompressed, maxLiveBacklog } from '../protocol/limits.ts';
import { newDeflateContext, updateWindow } from '../protocol/websocket/deflate.ts';
import { FIN, maxHeaderSize, RSV1 } from '../protocol/websocket/frame.ts';
import type { Message } from '../protocol/websocket/message.ts';
import { workUnits } from '../protocol/workUnits.ts';
import { type ArenaUse, clearQueue, type Range, reserve } from '../records/arena.ts';
import type { Connection, Group, Server } from '../records/records.ts';
import { logForAddress } from './addressLog.ts';
import { closeConnection } from './close.ts';
import { updateHeld } from './memory.ts';
import { wake } from './poll.ts';
import {
  appendOutput,
  canSend,
  compress,
  compressFrom,
  keptFrame,
  scheduleFlush,
  sendMessage,
  writeBytes,
  writeFrame,
} from './send.ts';

/** @param onBehind see `Group`; without it, a slow consumer is closed */
export function newGroup(onBehind?: Group['onBehind']): Group {
  return { members: new Set(), list: undefined, onBehind };
}

export function join(group: Group, connection: Connection): void {
  group.members.add(connection);
  group.list = undefined;
}

export function leave(group: Group, connection: Connection): void {
  const { server } = connection;
  // The connection gets the pending messages while it is a member, and before anything else.
  if (server.pendingFanout?.group === group) flushFanout(server);
  if (group.members.delete(connection)) group.list = undefined;
}

/** In the order in which they joined. */
export function membersOf(group: Group): readonly Connection[] {
  group.list ??= [...group.members];
  return group.list;
}

/**
 * Sends the message to all members.
 * @param since passed to `group.onBehind`
 * @param isKept see `FanoutTerms`
 */
export function publishToGroup(
  group: Group,
  message: Message,
  { except, since = 0, isKept = false }: GroupOptions = {},
): void {
  const [first] = group.members;
  if (first === undefined) return;
  const { pendingFanout: pending } = first.server;
  // Before `membersOf`: `onBehind` may remove members from the group.
  if (pending !== undefined && (pending.members !== group.list || pending.except !== except))
    flushFanout(first.server);
  sendToAll(membersOf(group), except, message, { group, since, isKept });
}

interface GroupOptions {
  readonly except?: Connection | undefined;
  readonly since?: number;
  readonly isKept?: boolean;
}

interface FanoutTerms {
  /** The recipients as a group, and the message's `since` for `onBehind`. */
  readonly group: Group | undefined;
  readonly since: number;
  /** The bytes are a received message's and will not change, so a long message is sent without a copy. */
  readonly isKept: boolean;
}

const usualTerms: FanoutTerms = { group: undefined, since: 0, isKept: false };

/** All of `bytes` as a message. */
export function wholeMessage(isText: boolean, bytes: Uint8Array): Message {
  return { isText, bytes, start: 0, end: bytes.length };
}

/**
 * Sends one message to many connections. The bytes are copied.
 * @param members of one server, all with frames or all without; the list is replaced, never changed, when someone joins or
 *   leaves
 */
export function sendToAll(
  members: readonly Connection[],
  except: Connection | undefined,
  message: Message,
  terms = usualTerms,
): void {
  const first = members[0];
  if (first === undefined) return;
  const { isText, bytes, start, end } = message;
  const { server } = first;
  const isFramed = first.endpoint !== undefined;
  if (isFramed && end - start >= compressFrom) {
    flushFanout(server);
    sendLarge(members, except, message, terms);
  } else if (isFramed) {
    const opcode = isText ? Opcode.Text : Opcode.Binary;
    queueForAll(members, except, frameRange(server.arena, FIN | opcode, bytes, start, end), terms);
  } else {
    queueForAll(members, except, writeBytes(server.arena, bytes, start, end), terms);
  }
}

function frameRange(arena: ArenaUse, first: number, bytes: Uint8Array, start: number, end: number): Range {
  const chunk = reserve(arena, maxHeaderSize + end - start);
  const from = chunk.used;
  writeFrame(chunk, first, bytes, start, end);
  return { chunk, start: from, end: chunk.used };
}

/** The fast path: joins the range to the pending fan-out, or starts a new one. */
function queueForAll(
  members: readonly Connection[],
  except: Connection | undefined,
  { chunk, start, end }: Range,
  { group, since }: Pick<FanoutTerms, 'group' | 'since'>,
): void {
  const { server } = members[0]!;
  const pending = server.pendingFanout;
  if (pending !== undefined) {
    const continues = pending.chunk === chunk && pending.end === start;
    if (continues && pending.members === members && pending.except === except) {
      pending.end = end;
      pending.frames++;
      return;
    }
    flushFanout(server);
  }
  server.pendingFanout = {
    members,
    group,
    since,
    except,
    chunk,
    start,
    end,
    frames: 1,
    deliver: flushFanout,
    entries: undefined,
  };
  wake(server);
}

/** Gives the pending frames to each recipient. @param output queues them, or writes them at once */
export function flushFanout(server: Server, output = appendOutput): void {
  const fanout = server.pendingFanout;
  if (fanout === undefined) return;
  const { members, except, chunk, start, end, frames } = fanout;
  server.pendingFanout = undefined;
  for (let i = 0; i < members.length; i++) {
    const member = members[i]!;
    if (member === except || !admitToFanout(member, fanout)) continue;
    member.messagesOut += frames;
    recordFanout(member, fanout);
    output(member, chunk, start, end);
  }
}

/** Extra work units for each recipient of a large message. */
const largeFanoutCost = 4;

/**
 * A message that is worth compressing: each recipient gets the form that its handshake negotiated. It is compressed once for
 * each window size, without context, because contexts differ.
 */
function sendLarge(
  members: readonly Connection[],
  except: Connection | undefined,
  message: Message,
  terms: FanoutTerms,
): void {
  const { isText, bytes, start, end } = message;
  const opcode = isText ? Opcode.Text : Opcode.Binary;
  let plain: Range | undefined;
  const deflated: (Range | undefined)[] = [];
  let budget = Math.max(maxAlwaysCompressed, end - start);
  for (const member of members) {
    if (member === except || !admitToFanout(member, terms)) continue;
    const { server } = member;
    const { arena } = server;
    const deflater = member.endpoint?.deflater;
    let range: Range | undefined;
    if (deflater !== undefined) {
      const { windowBits } = deflater;
      if (deflated[windowBits] === undefined && budget >= end - start) {
        budget -= end - start;
        const smaller = compress(newDeflateContext(false, windowBits), bytes, start, end);
        if (smaller !== undefined)
          deflated[windowBits] = frameRange(arena, FIN | RSV1 | opcode, smaller, 0, smaller.length);
      }
      range = deflated[windowBits];
      if (range !== undefined) {
        updateWindow(deflater, bytes, start, end);
        updateHeld(member);
        if (server.taps.isOn) tapCompressed(member, message);
      }
    }
    plain ??= range === undefined && terms.isKept ? keptFrame(arena, message) : undefined;
    range ??= plain ??= frameRange(arena, FIN | opcode, bytes, start, end);
    member.messagesOut++;
    recordSent(member, range.chunk.bytes, range.start, range.end);
    workUnits.spent += largeFanoutCost;
    appendOutput(member, range.chunk, range.start, range.end);
  }
}

/** Like `sendMessage`, for unsolicited messages: a peer over `--max-buffered` is closed instead, as in a fan-out. */
export function sendPush(
  connection: Connection,
  isText: boolean,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (admitToFanout(connection, usualTerms)) sendMessage(connection, isText, bytes, start, end);
}

/**
 * @returns whether a connection takes part in a fan-out. A closing one does not. A slow consumer leaves its group, or is closed
 *   after the fan-out
 */
function admitToFanout(member: Connection, terms: Pick<FanoutTerms, 'group' | 'since'>): boolean {
  if (!canSend(member) || member.isSlowConsumer) return false;
  return !member.socket.isBusy || admitBusy(member, terms);
}

function admitBusy(member: Connection, { group, since }: Pick<FanoutTerms, 'group' | 'since'>): boolean {
  const { size } = member.queue;
  const { maxBuffered } = member.server.configuration;
  if (group?.onBehind !== undefined) {
    if (size <= Math.min(maxLiveBacklog, maxBuffered)) return true;
    group.onBehind(member, since);
    return false;
  }
  if (size <= maxBuffered) return true;
  // Close it later: closing may start another broadcast while this one iterates.
  member.isSlowConsumer = true;
  member.server.slowConsumers.push(member);
  scheduleFlush(member);
  return false;
}

/** Queues all pending broadcasts and closes slow consumers. */
export function finishFanouts(server: Server): void {
  flushFanout(server);
  const { slowConsumers } = server;
  for (let member = slowConsumers.pop(); member !== undefined; member = slowConsumers.pop()) {
    closeSlowConsumer(member);
    // The close may have started another broadcast, which may find more slow consumers.
    flushFanout(server);
  }
}

/**
 * Closes a peer that reads too slowly. Its queue is dropped, which frees the memory at once. The frame that the system has
 * begun to send is finished; the close frame follows it.
 */
function closeSlowConsumer(connection: Connection): void {
  if (!canSend(connection)) return;
  const { id, address, queue, server } = connection;
  const limit = size.show(server.configuration.maxBuffered);
  logForAddress(connection, 'warn', 'slow consumer closed', { id, address, bytes: queue.size });
  const rule = `it read too slowly: ${queue.size} bytes waited for it, and the limit is ${limit}`;
  noteRule(connection, rule, 'maxBuffered');
  server.counters.fellBehind++;
  clearQueue(queue);
  closeConnection(connection, CloseCode.TryAgainLater, 'too far behind');
}
