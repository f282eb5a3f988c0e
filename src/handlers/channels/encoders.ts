/**
 * How messages are written for subscribers: as published, or in the JSON form, which has the id and the channel. JSON is the
 * same for all transports.
 */

import type { MessageKind } from '../../storage/log/records.ts';
import { idOf } from './names.ts';
import type { ChannelEncoder, ChannelMessage, Channels, EncodedMessage } from './records.ts';

/** The JSON form: `{"id":"E-12","channel":"orders","data":…}`. */
export function jsonForm(channels: Channels, message: ChannelMessage): string {
  const { seq, channel, event, from, kind, data } = message;
  const eventMember = event === undefined ? '' : `,"event":${JSON.stringify(event)}`;
  const fromMember = from === undefined ? '' : `,"from":${JSON.stringify(from)}`;
  const start = `{"id":"${idOf(channels, seq)}","channel":${JSON.stringify(channel)}${eventMember}${fromMember}`;
  return `${start},${contentMember(kind, data)}}`;
}

/** A message that is in no channel, and so has no id. */
export function jsonOutside(from: string, kind: MessageKind, data: Buffer): string {
  return `{"from":${JSON.stringify(from)},${contentMember(kind, data)}}`;
}

function contentMember(kind: MessageKind, data: Buffer): string {
  if (kind === 'bytes') return `"base64":"${data.toString('base64')}"`;
  const text = data.toString('utf8');
  return `"data":${kind === 'json' ? text : JSON.stringify(text)}`;
}

export function jsonGap(names: readonly string[]): string {
  return `{"gap":${JSON.stringify(names)}}`;
}

const textMessage = (text: string): EncodedMessage => ({ isText: true, bytes: Buffer.from(text) });

/** WebSocket: the data as published; bytes in binary messages. */
export const plainWebSocket: ChannelEncoder = {
  transport: 'websocket',
  message: (_, { kind, data }) => ({ isText: kind !== 'bytes', bytes: data }),
  gap: names => textMessage(jsonGap(names)),
};

export const jsonWebSocket: ChannelEncoder = {
  transport: 'websocket',
  presence: (id, change) => textMessage(JSON.stringify({ id, ...change })),
  message: (channels, message) => textMessage(jsonForm(channels, message)),
  gap: names => textMessage(jsonGap(names)),
};

/**
 * An event (HTML Living Standard §9.2.6). A line of `data` ends at any of the three line ends of the standard, and the browser
 * joins the lines with LF; between the tokens of JSON that changes nothing.
 */
function encodeEvent(id: string | undefined, name: string | undefined, data: string): EncodedMessage {
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  const nameLine = name === undefined ? '' : `event: ${name.replace(/[\r\n]/g, ' ')}\n`;
  const start = `${idLine}${nameLine}data: `;
  if (data.length <= shortData) return textMessage(`${start}${data.replace(/\r\n|\r|\n/g, nextLine)}\n\n`);
  const bytes = Buffer.concat([Buffer.from(start), splitLines(Buffer.from(data)), Buffer.from('\n\n')]);
  return { isText: true, bytes };
}

const nextLine = '\ndata: ';
const nextLineBytes = Buffer.from(nextLine);

/** In longer data, a regular expression takes seconds to replace millions of line ends. */
const shortData = 16 * 1024;

const LF = 0x0a;
const CR = 0x0d;

/** The data with a field name before each line but the first. */
function splitLines(data: Buffer): Buffer {
  let ends = 0;
  for (let at = 0; at < data.length; at++) if (data[at] === LF || data[at] === CR) ends++;
  const split = Buffer.allocUnsafe(data.length + ends * nextLine.length);
  let to = 0;
  for (let at = 0; at < data.length; at++) {
    const byte = data[at]!;
    if (byte !== LF && byte !== CR) split[to++] = byte;
    // The LF of a CR LF ends the line.
    else if (byte === LF || data[at + 1] !== LF)
      for (let from = 0; from < nextLineBytes.length; from++) split[to++] = nextLineBytes[from]!;
  }
  return split.subarray(0, to);
}

function dataOf({ kind, data }: ChannelMessage): string {
  return data.toString(kind === 'bytes' ? 'base64' : 'utf8');
}

/** An id without an event: the browser resumes there. */
const idEvent = (id: string) => textMessage(`id: ${id}\n\n`);

function newEventSource(contentOf: (channels: Channels, message: ChannelMessage) => string): ChannelEncoder {
  return {
    transport: 'eventsource',
    message: (channels, message) =>
      encodeEvent(idOf(channels, message.seq), message.event, contentOf(channels, message)),
    gap: names => encodeEvent(undefined, 'gap', jsonGap(names)),
    caughtUp: channels => idEvent(idOf(channels, channels.lastSeq)),
  };
}

/** EventSource: the data as published; bytes in base64. */
export const plainEventSource = newEventSource((_, message) => dataOf(message));

export const jsonEventSource: ChannelEncoder = {
  ...newEventSource(jsonForm),
  presence: (id, change) => encodeEvent(id, 'presence', JSON.stringify({ id, ...change })),
};

/** Milliseconds before a browser reconnects to a stream that ended. */
const eventRetryDelay = 250;

/** The beginning of a stream. @param id the position that it starts from */
export function eventStreamStart(id: string): Buffer {
  return Buffer.from(`retry: ${eventRetryDelay}\nid: ${id}\n\n`);
}
