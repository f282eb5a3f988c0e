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
import { maxChannelsPerSubscriber, maxJsonMessage } from '../../protocol/limits.ts';
import { type Message, messageBytes } from '../../protocol/websocket/message.ts';
import type { Connection } from '../../records/records.ts';
import { idOf, parseCursor } from './names.ts';
import { type JsonObject, Refusal, readChannelName, readPublication } from './publicationObject.ts';
import { publish } from './publish.ts';
import type { Channels, Subscriber } from './records.ts';
import { type Start, subscribe, unsubscribe } from './subscribers.ts';

/** A client's session. */
export interface DialogueSession {
  readonly channels: Channels;
  readonly subscriber: Subscriber;
  /** Who publishes here; undefined: it can only subscribe. */
  readonly publisher: string | undefined;
}

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

function parseCommand(text: string): JsonObject {
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

function readRef({ ref }: JsonObject): string | number | undefined {
  if (ref === undefined || typeof ref === 'number') return ref;
  if (typeof ref === 'string' && ref.length <= maxRefLength) return ref;
  throw new Refusal(`"ref" must be a number, or a string of at most ${maxRefLength} characters`);
}

const commandNames = ['subscribe', 'unsubscribe', 'publish'];

function run(session: DialogueSession, command: JsonObject, text: string, reply: Reply): void {
  const [name, another] = commandNames.filter(one => command[one] !== undefined);
  if (name === undefined || another !== undefined)
    throw new Refusal('send one of "subscribe", "unsubscribe" and "publish", with the name of a channel');
  const channel = readChannelName(command, name);
  if (name === 'subscribe') runSubscribe(session, channel, command, reply);
  else if (name === 'unsubscribe') runUnsubscribe(session, channel, reply);
  else runPublish(session, channel, command, text, reply);
}

function runSubscribe(
  { channels, subscriber }: DialogueSession,
  name: string,
  command: JsonObject,
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

function readCommandStart(channels: Channels, { after, last }: JsonObject): Start {
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
  command: JsonObject,
  text: string,
  reply: Reply,
): void {
  if (publisher === undefined)
    throw new Refusal('publishing needs a token; connect with ?token=TOKEN or "Authorization: Bearer TOKEN"');
  const publication = { channel, ...readPublication(command, text), publisher };
  publish(channels, publication, outcome => {
    if (typeof outcome === 'string') reply({ error: outcome });
    else reply({ ok: { publish: channel, ...outcome } });
  });
}
