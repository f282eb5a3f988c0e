/**
 * What the client of a WebSocket in the JSON form may say:
 *
 *     {"subscribe":"x","after":"E-9"}     or "last":N, or neither
 *     {"unsubscribe":"x"}
 *     {"publish":"x","data":…}            or "base64"; with "event", "ttl" and "key" as for POST
 *
 * Each gets one answer, {"ok":…} or {"error":"…"}, with the client's own "ref" if it sent one.
 */

import { canSend, sendMessage } from '../../core/send.ts';
import { isObject } from '../../options/json.ts';
import { isWellFormed } from '../../options/text.ts';
import { decodeBase64 } from '../../protocol/base64.ts';
import { maxChannelsPerSubscriber, maxJsonMessage } from '../../protocol/limits.ts';
import { type Message, messageBytes } from '../../protocol/websocket/message.ts';
import type { Connection } from '../../records/records.ts';
import { channelNameFault, idOf, parseCursor } from './names.ts';
import { publicationFault } from './publication.ts';
import { publish } from './publish.ts';
import type { Channels, Publication, Subscriber } from './records.ts';
import { type Start, subscribe, unsubscribe } from './subscribers.ts';

/** A client's session. */
export interface DialogueSession {
  readonly channels: Channels;
  readonly subscriber: Subscriber;
  /** Who publishes here; undefined: it can only subscribe. */
  readonly publisher: string | undefined;
}

type Command = Readonly<Record<string, unknown>>;

/** Why a command was refused, as a sentence for the client. */
class Refusal extends Error {}

/** Runs the command in the message, and answers it: a `publish` when it is stored. */
export function answerCommand(session: DialogueSession, message: Message): void {
  const { connection } = session.subscriber;
  let reply = newReply(connection, undefined);
  try {
    const text = readCommandText(message);
    const command = parseCommand(text);
    reply = newReply(connection, readRef(command));
    run(session, command, text, reply);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    reply({ error: error.message });
  }
}

type Reply = (answer: object) => void;

function newReply(connection: Connection, ref: string | number | undefined): Reply {
  return answer => {
    if (!canSend(connection)) return;
    const bytes = Buffer.from(JSON.stringify({ ...answer, ref }));
    sendMessage(connection, true, bytes, 0, bytes.length);
  };
}

function readCommandText(message: Message): string {
  if (!message.isText)
    throw new Refusal('send commands as JSON in text messages; for bytes there is "base64"');
  if (message.end - message.start > maxJsonMessage)
    throw new Refusal(`a command can have ${maxJsonMessage} bytes at most; publish longer data with POST`);
  return messageBytes(message).toString('utf8');
}

function parseCommand(text: string): Command {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refusal('this is not valid JSON');
  }
  if (!isObject(value)) throw new Refusal('this is not a JSON object');
  return value;
}

const maxRefLength = 200;

function readRef({ ref }: Command): string | number | undefined {
  if (ref === undefined || typeof ref === 'number') return ref;
  if (typeof ref === 'string' && ref.length <= maxRefLength) return ref;
  throw new Refusal(`"ref" must be a number, or a string of at most ${maxRefLength} characters`);
}

const commandNames = ['subscribe', 'unsubscribe', 'publish'];

function run(session: DialogueSession, command: Command, text: string, reply: Reply): void {
  const [name, another] = commandNames.filter(one => command[one] !== undefined);
  if (name === undefined || another !== undefined)
    throw new Refusal('send one of "subscribe", "unsubscribe" and "publish", with the name of a channel');
  const channel = command[name];
  if (typeof channel !== 'string') throw new Refusal(`"${name}" must be the name of a channel`);
  const fault = channelNameFault(channel);
  if (fault !== undefined) throw new Refusal(fault);
  if (name === 'subscribe') runSubscribe(session, channel, command, reply);
  else if (name === 'unsubscribe') runUnsubscribe(session, channel, reply);
  else runPublish(session, channel, command, text, reply);
}

function runSubscribe(
  { channels, subscriber }: DialogueSession,
  name: string,
  command: Command,
  reply: Reply,
): void {
  const start = readCommandStart(channels, command);
  const { subscriptions } = subscriber;
  if (subscriptions.has(name)) throw new Refusal('already subscribed; unsubscribe first to start elsewhere');
  if (subscriptions.size >= maxChannelsPerSubscriber)
    throw new Refusal(
      `a subscriber can have ${maxChannelsPerSubscriber} channels at most; unsubscribe another`,
    );
  reply({ ok: { subscribe: name, last: idOf(channels, channels.lastSeq) } });
  subscribe(channels, subscriber, name, start);
}

function readCommandStart(channels: Channels, { after, last }: Command): Start {
  if (last !== undefined && !(Number.isInteger(last) && Number(last) >= 0))
    throw new Refusal('"last" must be the number of messages to start with');
  if (after === undefined) return { last: last as number | undefined };
  const cursor =
    typeof after === 'string' ? parseCursor(channels, after) : '"after" must be the id of a message';
  if (typeof cursor === 'string') throw new Refusal(`cannot resume: ${cursor}`);
  return { after: cursor };
}

function runUnsubscribe({ channels, subscriber }: DialogueSession, name: string, reply: Reply): void {
  if (!unsubscribe(channels, subscriber, name)) throw new Refusal('not subscribed to this channel');
  reply({ ok: { unsubscribe: name } });
}

function runPublish(
  { channels, publisher }: DialogueSession,
  channel: string,
  command: Command,
  text: string,
  reply: Reply,
): void {
  if (publisher === undefined)
    throw new Refusal('publishing needs a token; connect with ?token=TOKEN or "Authorization: Bearer TOKEN"');
  const { event, ttl, key } = command;
  if (
    (event !== undefined && typeof event !== 'string') ||
    (ttl !== undefined && typeof ttl !== 'number') ||
    (key !== undefined && typeof key !== 'string')
  )
    throw new Refusal('"event" and "key" must be strings, and "ttl" a number of seconds');
  const milliseconds = ttl === undefined ? undefined : ttl * 1000;
  const publication = { channel, ...readData(command, text), event, ttl: milliseconds, key, publisher };
  const fault = publicationFault(publication);
  if (fault !== undefined) throw new Refusal(fault);
  publish(channels, publication, outcome => {
    if (typeof outcome === 'string') reply({ error: outcome });
    else reply({ ok: { publish: channel, ...outcome } });
  });
}

function readData({ data, base64 }: Command, text: string): Pick<Publication, 'kind' | 'data'> {
  if ((data === undefined) === (base64 === undefined))
    throw new Refusal('give the message in "data", or its bytes in "base64"');
  if (data === undefined) {
    const bytes = decodeBase64(base64);
    if (bytes === undefined) throw new Refusal('"base64" is not valid base64');
    return { kind: 'bytes', data: bytes };
  }
  // Not `JSON.stringify(data)`, which would round large numbers.
  if (typeof data !== 'string') return { kind: 'json', data: ownBytes(memberText(text, 'data')) };
  if (!isWellFormed(data)) throw new Refusal('"data" must be valid Unicode');
  return { kind: 'text', data: ownBytes(data) };
}

/** `Buffer.from` puts short texts into a shared pool, all of which a kept message would keep. */
function ownBytes(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

/** JSON outside of strings, without brackets and commas. */
const plainJson = /[^"{}[\],]*/y;

/** @returns the index after the string of JSON that begins at `start` */
function endOfString(json: string, start: number): number {
  for (let at = start + 1; ; ) {
    const quote = json.indexOf('"', at);
    let escapes = quote;
    while (escapes > at && json[escapes - 1] === '\\') escapes--;
    at = quote + 1;
    if ((quote - escapes) % 2 === 0) return at;
  }
}

/**
 * The text of a member's value.
 * @param json an object that `JSON.parse` has accepted, and that has the member
 */
export function memberText(json: string, name: string): string {
  let found = '';
  let at = json.indexOf('{') + 1;
  while (json[at] !== '}') {
    const keyAt = json.indexOf('"', at);
    at = endOfString(json, keyAt);
    const key = JSON.parse(json.slice(keyAt, at)) as string;
    at = json.indexOf(':', at) + 1;
    const from = at;
    for (let depth = 0; depth > 0 || (json[at] !== ',' && json[at] !== '}'); ) {
      const character = json[at]!;
      if (character === '{' || character === '[') depth++;
      else if (character === '}' || character === ']') depth--;
      if (character === '"') at = endOfString(json, at);
      else if (/[{}[\],]/.test(character)) at++;
      else {
        plainJson.lastIndex = at;
        at += plainJson.exec(json)![0].length;
      }
    }
    // As for `JSON.parse`, the last one counts.
    if (key === name) found = json.slice(from, at).trim();
    if (json[at] === ',') at++;
  }
  return found;
}
