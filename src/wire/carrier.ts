/** Requests that carry messages to a client: polls, each answered once, and streams of events. */
import type { Connection } from '../connection/connection.ts';
import { sendBytes } from '../connection/send.ts';
import { encodeResponse } from '../protocol/http.ts';
import { type Numbered, showAnswer, showContent, showEvent } from '../protocol/polling.ts';
import { type Fields, respond } from './route.ts';

export interface Carrier {
  readonly connection: Connection;
  /** Those that its answer has, beside others. */
  readonly fields: Fields;
  /** Goes on with one message after the other, as events; else the first messages are its answer. */
  readonly isStream: boolean;
  /** When a stream was written to last. */
  wroteAt: number;
}

export function answerPoll(
  { connection, fields }: Carrier,
  messages: readonly Numbered[],
  closing: string | undefined,
): void {
  const headers = { 'Content-Type': 'application/json', ...fields };
  respond(connection, encodeResponse(200, headers, showAnswer(messages, closing)));
}

/** How long a browser waits until it comes again to a stream that ended; milliseconds. */
const comeAgain = 250;

export function beginStream({ connection, fields }: Carrier): void {
  const headers = {
    Connection: 'close',
    'Content-Type': 'text/event-stream',
    // nginx is asked to pass on what it gets, when it gets it.
    'X-Accel-Buffering': 'no',
  };
  sendBytes(connection, encodeResponse(200, { ...fields, ...headers }, undefined));
  sendBytes(connection, Buffer.from(`retry: ${comeAgain}\n\n`));
}

export function sendEvents(
  carrier: Carrier,
  messages: readonly Numbered[],
  closing: string | undefined,
): void {
  const events = messages.map(showEvent);
  if (closing !== undefined) events.push(`event: closed\ndata: ${closing}\n\n`);
  if (events.length > 0) write(carrier, Buffer.from(events.join('')));
}

/** An event that says nothing but that someone is there. */
const comment = Buffer.from(':\n\n');

export function beat(carrier: Carrier): void {
  write(carrier, comment);
}

function write(carrier: Carrier, bytes: Buffer): void {
  sendBytes(carrier.connection, bytes);
  carrier.wroteAt = carrier.connection.server.now;
}

/** What was said in a turn, by where it lies: what is said to many is shown once. */
const shown = new Map<Buffer, Map<number, string>>();
let shownTurn = 0;

/**
 * The message `bytes[from, to)`, which stays as it is until the turn is over, as a client gets it.
 * @param turn the turn's number
 */
export function contentOf(turn: number, isText: boolean, bytes: Buffer, from: number, to: number): string {
  if (turn !== shownTurn) shown.clear();
  shownTurn = turn;
  const known = shown.get(bytes) ?? new Map<number, string>();
  shown.set(bytes, known);
  const content = known.get(from) ?? showContent(isText, bytes, from, to);
  known.set(from, content);
  return content;
}

/** What a message takes that waits: its content, its number, and what is around them. */
export function sizeOf({ content }: Numbered): number {
  return content.length + 32;
}
