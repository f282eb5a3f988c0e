/**
 * Subscribers that poll: each request waits for messages, and its answer has the position for the next request.
 *
 *     {"messages":[{"id":"E-12","channel":"orders","data":…}],"last":"E-14"}
 */

import { updateHeld } from '../../core/memory.ts';
import { queueRange, writeBytes } from '../../core/send.ts';
import { dropIfUnused, findOrCreate } from '../../handlers/channels/channel.ts';
import { jsonForm } from '../../handlers/channels/encoders.ts';
import { idOf } from '../../handlers/channels/names.ts';
import { visitPresence } from '../../handlers/channels/presence.ts';
import type { ChannelMessage, Channels, Waiter } from '../../handlers/channels/records.ts';
import type { ChannelRequest } from '../../handlers/channels/request.ts';
import {
  gapsOf,
  memoryOf,
  positionAt,
  stopWaiting,
  takeNext,
  waitForMessage,
} from '../../handlers/channels/subscribers.ts';
import { pollWindow } from '../../protocol/limits.ts';
import { outputArena, type Range } from '../../records/arena.ts';
import type { Connection } from '../../records/records.ts';
import { beginResponse, endResponse, type Fields } from '../route.ts';
import type { Delivery } from './delivery.ts';

interface WaitingPoll {
  readonly waiter: Waiter;
  /** What it has collected since it became due. */
  readonly messages: readonly ChannelMessage[];
  readonly fields: Fields;
  readonly since: number;
}

export function newLongPolls(channels: Channels): Delivery {
  const { server } = channels;
  const polls = new Map<Connection, WaitingPoll>();
  const type = 'application/json';
  const encode = newAnswerEncoder(channels);

  function start(request: Connection, { names, start: from }: ChannelRequest, fields: Fields): void {
    const user = request.identity?.user;
    const found = names.map(name => findOrCreate(channels, name));
    const positions = found.map(channel => positionAt(channels, channel, from));
    const gap = gapsOf(positions);
    const batch = batchOf(() => takeNext(positions), messageCost + channelCost * positions.length);
    if (gap.length > 0 || batch.messages.length > 0 || from.last !== undefined || server.isDraining) {
      answer(request, fields, gap, batch);
      for (const channel of found) {
        if (user !== undefined) visitPresence(channels, channel, user);
        dropIfUnused(channels, channel);
      }
      return;
    }
    const messages: ChannelMessage[] = [];
    let size = 0;
    const waiter: Waiter = {
      channels: found,
      user,
      take(message) {
        // The answer has no room for more: the client's next request gets them, or a gap.
        if (size >= pollWindow) return;
        size += message.data.length + messageCost;
        if (messages.push(message) % heldSteps === 0) updateHeld(request);
      },
      wake() {
        const next = messages.values();
        answer(
          request,
          fields,
          [],
          batchOf(() => next.next().value, messageCost),
        );
      },
    };
    polls.set(request, { waiter, messages, fields, since: server.now });
    waitForMessage(channels, waiter);
  }

  function answer(request: Connection, fields: Fields, gap: readonly string[], batch: Batch): void {
    // It was answered before its turn to be woken, and its connection is ending.
    if (request.phase !== 'open') return;
    const encoded = encode(gap, batch);
    const { length } = encoded.body;
    beginResponse(request, 200, { ...fields, 'Content-Type': type, 'Content-Length': String(length) });
    queueBody(request, encoded);
    endResponse(request);
  }

  function stop(request: Connection): void {
    // The poll may have messages already, and wait for its slice of a turn.
    polls.get(request)?.waiter.wake();
  }

  return {
    type,
    start,
    stop,

    finished(request) {
      const poll = polls.get(request);
      polls.delete(request);
      if (poll !== undefined) stopWaiting(channels, poll.waiter);
    },

    checkDeadlines(request) {
      const poll = polls.get(request);
      const { pingInterval } = server.configuration;
      if (poll !== undefined && pingInterval > 0 && server.now - poll.since >= pingInterval) stop(request);
    },

    held(request) {
      const poll = polls.get(request);
      if (poll === undefined) return 0;
      const { waiter, messages } = poll;
      return waiter.channels.length * memoryOf(waiter) + messages.length * referenceMemory;
    },
  };
}

/** Bytes that a list takes for each message: polls share the messages themselves. */
const referenceMemory = 16;

/** A poll that waits for its turn to be answered counts its list again after so many messages. */
const heldSteps = 128;

interface Batch {
  readonly messages: readonly ChannelMessage[];
  /** There are no messages behind these. */
  readonly isAll: boolean;
}

/** The first messages, as many as one answer may have, and at least one. The client comes again for the others. */
function batchOf(next: () => ChannelMessage | undefined, cost: number): Batch {
  const messages: ChannelMessage[] = [];
  for (let size = 0; size < pollWindow; ) {
    const message = next();
    if (message === undefined) return { messages, isAll: true };
    messages.push(message);
    size += message.data.length + cost;
  }
  return { messages, isAll: false };
}

/** What a message adds to an answer besides its data, and the time to look for it in each channel, as bytes. */
const messageCost = 128;
const channelCost = 64;

/** An encoded answer, and where the output arena has it in an epoch of the arena. */
interface EncodedAnswer {
  readonly messages: readonly ChannelMessage[];
  readonly list: string;
  end: string;
  body: Buffer;
  epoch: number;
  range: Range | undefined;
}

/**
 * Encodes answers. Many clients poll the same channels, and the next message answers all of them, so an answer that is the same as
 * the last one is not encoded again. An answer with a message of megabytes is kept by a weak reference only: until the turn ends
 * (ECMA-262 §9.9), and then until memory is collected.
 */
function newAnswerEncoder(channels: Channels): (gap: readonly string[], batch: Batch) => EncodedAnswer {
  let last: { deref(): EncodedAnswer | undefined } | undefined;

  function withMessages(messages: readonly ChannelMessage[]): EncodedAnswer {
    const earlier = last?.deref();
    const isSame =
      earlier?.messages.length === messages.length &&
      messages.every((message, at) => message === earlier.messages[at]);
    if (isSame) return earlier;
    const list = messages.map(message => jsonForm(channels, message)).join(',');
    const answer: EncodedAnswer = {
      ...{ messages, list, end: '' },
      ...{ body: Buffer.alloc(0), epoch: 0, range: undefined },
    };
    last = list.length > pollWindow ? new WeakRef(answer) : { deref: () => answer };
    return answer;
  }

  return (gap, { messages, isAll }) => {
    const answer = withMessages(messages);
    const lastId = idOf(channels, isAll ? channels.lastSeq : messages.at(-1)!.seq);
    const gapMember = gap.length === 0 ? '' : `,"gap":${JSON.stringify(gap)}`;
    const end = `]${gapMember},"last":"${lastId}"}\n`;
    if (answer.end !== end) {
      answer.end = end;
      answer.body = Buffer.from(`{"messages":[${answer.list}${end}`);
      answer.range = undefined;
    }
    return answer;
  };
}

/** Queues the body. Clients that get the same one refer to the same bytes. */
function queueBody(request: Connection, answer: EncodedAnswer): void {
  if (answer.range === undefined || answer.epoch !== outputArena.epoch) {
    answer.range = writeBytes(request.server.arena, answer.body, 0, answer.body.length);
    answer.epoch = outputArena.epoch;
  }
  const { chunk, start, end } = answer.range;
  queueRange(request, chunk, start, end);
}
