/**
 * What the client of a WebSocket in the JSON form may say:
 *
 *     {"subscribe":"x","after":"E-9"}     or "last":N, or neither; "presence":true
 *     {"unsubscribe":"x"}
 *     {"publish":"x","data":…}            or "base64"; with "event", "ttl" and "key" as for POST
 *     {"token":"…"}                       identifies the client; a later one of the same user renews it
 *
 * Each gets one answer, {"ok":…} or {"error":"…"}, with the client's own "ref" if it sent one.
 */

import { publisherByRight, publishNeed, subscribeNeeds } from '../../access/needs.ts';
import { closeConnection } from '../../core/close.ts';
import { establish } from '../../core/places.ts';
import { canSend, sendMessage } from '../../core/send.ts';
import { isObject } from '../../options/json.ts';
import { CloseCode, closeCodeFor, type ProtocolError } from '../../protocol/codes.ts';
import { maxJsonMessage } from '../../protocol/limits.ts';
import { type Message, messageBytes } from '../../protocol/websocket/message.ts';
import type { Connection } from '../../records/records.ts';
import { authorizeClient, logRefusedCommand } from '../authorize.ts';
import { channelsFull } from './channel.ts';
import { idOf, parseCursor } from './names.ts';
import { type JsonObject, Refusal, readChannelName, readPublication } from './publicationObject.ts';
import { answerTo, publish } from './publish.ts';
import type { Channels, Subscriber } from './records.ts';
import type { ChannelRequest } from './request.ts';
import { neededBy, type Start, subscribe, unsubscribe } from './subscribers.ts';

/** A client's session. */
export interface DialogueSession {
  readonly channels: Channels;
  readonly subscriber: Subscriber;
  /**
   * The publisher, if the handshake had the API token or the publish token, which a reload may have revoked. Undefined, or returning
   * it: the client's rights decide.
   */
  readonly publisher: (() => string | undefined) | undefined;
  /** The request of its handshake, until a token shows that the client has the right to it. */
  awaited: ChannelRequest | undefined;
}

/** Subscribes to the channels of the client's handshake. */
export function openSubscriptions({ channels, subscriber }: DialogueSession, asked: ChannelRequest): void {
  const { connection } = subscriber;
  if (asked.isJson) newReply(connection, undefined)({ last: idOf(channels, channels.lastSeq) });
  for (const name of asked.names)
    subscribe(channels, subscriber, name, asked.start, asked.presence === 'watch');
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
  if (name === undefined && command['token'] !== undefined) return runToken(session, command['token'], reply);
  if (session.awaited !== undefined) throw new Refusal('say who you are first: send {"token":"…"}');
  if (name === undefined || another !== undefined)
    throw new Refusal('send one of "subscribe", "unsubscribe" and "publish", with the name of a channel');
  const channel = readChannelName(command, name);
  if (name === 'subscribe') runSubscribe(session, channel, command, reply);
  else if (name === 'unsubscribe') runUnsubscribe(session, channel, reply);
  else runPublish(session, channel, command, text, reply);
}

/** The token must allow all current subscriptions, or those that wait for it. */
function runToken(session: DialogueSession, token: unknown, reply: Reply): void {
  const { channels, subscriber } = session;
  const { connection } = subscriber;
  if (typeof token !== 'string') throw new Refusal('"token" must be a string');
  if (channels.entry?.takesTokens() !== true)
    throw new Refusal('this server takes no tokens here; it has no --auth-key');
  const fault = channels.entry.identifyByToken(connection, token);
  if (fault !== undefined) {
    reply({ error: fault });
    return closeConnection(connection, CloseCode.NotIdentified, fault);
  }
  const needs = session.awaited?.names.flatMap(subscribeNeeds) ?? neededBy(channels, connection);
  authorizeClient(channels.entry, connection, needs, refusal => {
    if (refusal !== undefined) {
      logRefusedCommand(connection, refusal, 'token');
      reply({ error: refusal.message });
      return closeConnection(connection, closeCodeFor(refusal.code), refusal.message);
    }
    reply({ ok: { token: connection.identity!.user } });
    const { awaited } = session;
    if (awaited === undefined) return;
    session.awaited = undefined;
    connection.trustLevel = 3;
    establish(connection);
    openSubscriptions(session, awaited);
  });
}

function runSubscribe(
  { channels, subscriber }: DialogueSession,
  name: string,
  command: JsonObject,
  reply: Reply,
): void {
  const { connection } = subscriber;
  const start = readCommandStart(channels, command);
  const { presence } = command;
  if (presence !== undefined && typeof presence !== 'boolean')
    throw new Refusal('"presence" must be true or false');
  const { subscriptions } = subscriber;
  if (subscriptions.has(name)) throw new Refusal('already subscribed; unsubscribe first to start elsewhere');
  const { maxSubscriptions } = channels.server.configuration;
  if (maxSubscriptions > 0 && subscriptions.size >= maxSubscriptions)
    throw new Refusal(`a subscriber can have ${maxSubscriptions} channels at most; unsubscribe another`);
  const full = channelsFull(channels, [name]);
  if (full !== undefined) throw new Refusal(full);
  authorizeClient(channels.entry, connection, subscribeNeeds(name), refusal => {
    if (refusal !== undefined) return refuse(connection, refusal, name, reply);
    reply({ ok: { subscribe: name, last: idOf(channels, channels.lastSeq) } });
    subscribe(channels, subscriber, name, start, presence);
  });
}

function refuse(connection: Connection, refusal: ProtocolError, channel: string, reply: Reply): void {
  logRefusedCommand(connection, refusal, channel);
  reply({ error: refusal.message });
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
  session: DialogueSession,
  channel: string,
  command: JsonObject,
  text: string,
  reply: Reply,
): void {
  const { channels, subscriber } = session;
  const { connection, subscriptions } = subscriber;
  const { entry } = channels;
  const holder = session.publisher?.();
  const need = publishNeed(channel, subscriptions.has(channel));
  const isForTokens = entry?.isOn() !== true || entry.isForCommands(need, connection.identity);
  if (holder === undefined && isForTokens)
    throw new Refusal('publishing needs a token; connect with ?token=TOKEN or "Authorization: Bearer TOKEN"');
  const given = { channel, ...readPublication(command, text) };
  const needs = holder === undefined ? [need] : [];
  authorizeClient(entry, connection, needs, refusal => {
    if (refusal !== undefined) return refuse(connection, refusal, channel, reply);
    const publisher = holder ?? publisherByRight(connection.identity);
    publish(channels, { ...given, publisher }, outcome => {
      if (typeof outcome === 'string') reply({ error: outcome });
      else reply({ ok: { publish: channel, ...answerTo(channels, outcome) } });
    });
  });
}
