/**
 * Fan-out: one message for many connections. It is serialised once and, for clients that negotiated compression, compressed
 * once; every recipient's queue refers to the same bytes.
 *
 * Frames that are the same for all recipients take the fast path: they wait in `server.pendingFanout`, and reach the queues
 * together, when the turn ends or anything else is sent. Compressed frames are queued at once.
 */

import { noteRule } from '../diagnostics/closeReason.ts';
import { recordFanout, recordSent } from '../diagnostics/recorder.ts';
import { log } from '../log/log.ts';
import { size } from '../options/values.ts';
import { CloseCode, Opcode } from '../protocol/codes.ts';
import { maxAlwaysCompressed } from '../protocol/limits.ts';
import { newDeflateContext, updateWindow } from '../protocol/websocket/deflate.ts';
import { FIN, maxHeaderSize, RSV1 } from '../protocol/websocket/frame.ts';
import type { Message } from '../protocol/websocket/message.ts';
import { type ArenaUse, clearQueue, type Range, reserve } from '../records/arena.ts';
import type { Connection, Server } from '../records/records.ts';
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

/** Connections that receive the same messages. */
export interface Group {
  readonly members: Set<Connection>;
  /** The members as a list, which is faster to iterate. Replaced after someone joined or left. */
  list: readonly Connection[] | undefined;
}

export function newGroup(): Group {
  return { members: new Set(), list: undefined };
}

export function join(group: Group, connection: Connection): void {
  group.members.add(connection);
  group.list = undefined;
}

export function leave(group: Group, connection: Connection): void {
  if (group.members.delete(connection)) group.list = undefined;
}

/** In the order in which they joined. */
export function membersOf(group: Group): readonly Connection[] {
  group.list ??= [...group.members];
  return group.list;
}

/** Sends a received message on to all members. The handler must not change its bytes. A long message is not copied. */
export function publishToGroup(group: Group, message: Message, except?: Connection): void {
  sendToAll(membersOf(group), except, message, true);
}

/** All of `bytes` as a message. */
export function wholeMessage(isText: boolean, bytes: Uint8Array): Message {
  return { isText, bytes, start: 0, end: bytes.length };
}

/**
 * Sends one message to many connections. The bytes are copied.
 * @param members of one server, all with frames or all without; the list is replaced, never changed, when someone joins or
 *   leaves
 * @param isKept whether the bytes are a received message's and will not change, so a long message need not be copied
 */
export function sendToAll(
  members: readonly Connection[],
  except: Connection | undefined,
  message: Message,
  isKept = false,
): void {
  const first = members[0];
  if (first === undefined) return;
  const { isText, bytes, start, end } = message;
  const { server } = first;
  const isFramed = first.endpoint !== undefined;
  if (isFramed && end - start >= compressFrom) {
    flushFanout(server);
    sendLarge(members, except, message, isKept);
  } else if (isFramed) {
    const opcode = isText ? Opcode.Text : Opcode.Binary;
    queueForAll(server, members, except, frameRange(server.arena, FIN | opcode, bytes, start, end));
  } else {
    queueForAll(server, members, except, writeBytes(server.arena, bytes, start, end));
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
  server: Server,
  members: readonly Connection[],
  except: Connection | undefined,
  { chunk, start, end }: Range,
): void {
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

/** Queues the pending frames for each of their recipients. */
export function flushFanout(server: Server): void {
  const fanout = server.pendingFanout;
  if (fanout === undefined) return;
  const { members, except, chunk, start, end, frames } = fanout;
  server.pendingFanout = undefined;
  for (let i = 0; i < members.length; i++) {
    const member = members[i]!;
    if (member === except || !admitToFanout(member)) continue;
    member.messagesOut += frames;
    recordFanout(member, fanout);
    appendOutput(member, chunk, start, end);
  }
}

/**
 * A message that is worth compressing: each recipient gets the form that its handshake negotiated. It is compressed once for
 * each window size, without context, because contexts differ.
 */
function sendLarge(
  members: readonly Connection[],
  except: Connection | undefined,
  message: Message,
  isKept: boolean,
): void {
  const { isText, bytes, start, end } = message;
  const opcode = isText ? Opcode.Text : Opcode.Binary;
  let plain: Range | undefined;
  const deflated: (Range | undefined)[] = [];
  let budget = Math.max(maxAlwaysCompressed, end - start);
  for (const member of members) {
    if (member === except || !admitToFanout(member)) continue;
    const { arena } = member.server;
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
      }
    }
    plain ??= range === undefined && isKept ? keptFrame(arena, message) : undefined;
    range ??= plain ??= frameRange(arena, FIN | opcode, bytes, start, end);
    member.messagesOut++;
    recordSent(member, range.chunk.bytes, range.start, range.end);
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
  if (admitToFanout(connection)) sendMessage(connection, isText, bytes, start, end);
}

/** @returns whether a connection takes part in a fan-out. Closing ones do not; slow consumers are closed after it. */
function admitToFanout(member: Connection): boolean {
  if (!canSend(member) || member.isSlowConsumer) return false;
  if (!member.socket.isBusy || member.queue.size <= member.server.configuration.maxBuffered) return true;
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
  const { id, queue, server } = connection;
  const limit = size.show(server.configuration.maxBuffered);
  log('warn', 'slow consumer closed', { id, bytes: queue.size });
  const rule = `it read too slowly: ${queue.size} bytes waited for it, and the limit is ${limit}`;
  noteRule(connection, rule, 'maxBuffered');
  server.counters.fellBehind++;
  clearQueue(queue);
  closeConnection(connection, CloseCode.TryAgainLater, 'too far behind');
}
