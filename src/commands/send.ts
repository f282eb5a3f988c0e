/** Commands that send messages. */

import type { TokenHolder } from '../access/tokens.ts';
import { sendPush, sendToAll, wholeMessage } from '../core/fanout.ts';
import { jsonOutside, jsonWebSocket } from '../handlers/channels/encoders.ts';
import { contentFault, publicationFault } from '../handlers/channels/publication.ts';
import { answerTo, publish } from '../handlers/channels/publish.ts';
import type { Publication } from '../handlers/channels/records.ts';
import { userOf } from '../handlers/chat/chat.ts';
import { type ChatEncoder, serverNick } from '../handlers/chat/room.ts';
import { inspectorName } from '../handlers/inspector/session.ts';
import { timeToLive } from '../options/values.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { maxPacketBlob } from '../protocol/limits.ts';
import type { Connection } from '../records/records.ts';
import type { MessageKind } from '../storage/log/records.ts';
import { type CallValues, type Command, type Control, logsMessages } from './command.ts';
import { channelName, findConnections, id, messageKind, type Target, textValue, word } from './values.ts';

interface Content {
  readonly isText: boolean;
  readonly bytes: Buffer;
}

function contentOf({ text, bytes }: CallValues): Content {
  return bytes === undefined
    ? { isText: true, bytes: Buffer.from(text as string) }
    : { isText: false, bytes };
}

/** The number of a message that no room's history keeps. */
const unnumbered = 0;

/** The line that a chat user sees. */
const fromServer = ({ bytes }: Content) => Buffer.concat([Buffer.from(`${serverNick}: `), bytes]);

/** Whether the connection takes messages of others: its session is open, and neither the chat's nor an inspector's. */
function takesMessages(connection: Connection): boolean {
  const { handler, trustLevel } = connection;
  // Below level 3, a client has not shown yet that it may receive anything.
  return (
    isOpen(connection) &&
    trustLevel === 3 &&
    handler !== undefined &&
    handler.name !== 'tpacket' &&
    handler.name !== inspectorName
  );
}

/** Whether the connection subscribes to channels in the JSON form: its client parses every message. */
function takesJson({ channels }: Control, connection: Connection): boolean {
  return channels.subscribers.get(connection)?.encoder === jsonWebSocket;
}

/** The text for subscribers in the JSON form. */
const inJson = ({ isText, bytes }: Content) =>
  Buffer.from(jsonOutside(serverNick, isText ? 'text' : 'bytes', bytes));

function isOpen({ phase, endpoint }: Connection): boolean {
  return phase === 'open' && (endpoint === undefined || endpoint.state === 'OPEN');
}

/** @throws ProtocolError if the chat cannot carry it */
function checkForChat({ isText, bytes }: Content): void {
  if (!isText) throw new ProtocolError(409, 'the chat has text messages only; send a text');
  if (bytes.length > maxPacketBlob)
    throw new ProtocolError(409, `a message must have at most ${maxPacketBlob} bytes`);
}

const send: Command = {
  name: 'send',
  parameters: {
    id: { ...id, oldName: 'to' },
    text: { kind: textValue, rest: true, isPrivate: true, orBytes: true },
  },
  help: 'send a message to one connection',
  details:
    'A chat user sees the text as a line from "server"; no history keeps it. A peer that has too much unread output (--max-buffered) is closed instead. user:NAME sends to all connections of a user.',
  logs: logsMessages,
  run(control, parameters) {
    const content = contentOf(parameters);
    const connections = findConnections(control, parameters['id'] as Target);
    let sent = 0;
    let fault: unknown;
    for (const connection of connections) {
      try {
        sendToConnection(control, connection, content);
        sent++;
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        fault = error;
      }
    }
    // One of several connections of a user may be closing.
    if (sent === 0) throw fault;
    return { sent };
  },
};

/** Sends a message as the connection's handler does. @throws ProtocolError 409 */
export function sendToConnection(control: Control, connection: Connection, content: Content): void {
  const { chat } = control;
  const user = userOf(chat, connection);
  if (user !== undefined && isOpen(connection)) {
    checkForChat(content);
    const { isText, bytes, start, end } = user.encoder.history(fromServer(content), unnumbered);
    sendPush(connection, isText, bytes, start, end);
  } else if (user === undefined && takesMessages(connection)) {
    const { isText, bytes } = takesJson(control, connection)
      ? { isText: true, bytes: inJson(content) }
      : content;
    sendPush(connection, isText, bytes, 0, bytes.length);
  } else {
    throw new ProtocolError(409, `connection ${connection.id} ${whyNotReady(control, connection)}`);
  }
  if (connection.isSlowConsumer) {
    throw new ProtocolError(
      409,
      `connection ${connection.id} does not read its messages and was closed (--max-buffered)`,
    );
  }
}

function whyNotReady({ channels }: Control, connection: Connection): string {
  if (connection.handler?.name === inspectorName) return 'is an inspector, which takes no messages';
  if (connection.handler === undefined && channels.subscribers.has(connection))
    return 'is an event stream, which gets only what is published; publish in its channel';
  return 'is not ready: its handshake is unfinished, it has no nick or token yet, or it is closing';
}

const publishCommand: Command = {
  name: 'publish',
  parameters: {
    channel: { kind: channelName, oldName: 'room' },
    text: { kind: textValue, rest: true, isPrivate: true, orBytes: true },
    as: { kind: messageKind, isOption: true },
    event: { kind: word('EVENT', 'the name of the event'), isOption: true },
    ttl: { kind: timeToLive, isOption: true },
    key: { kind: word('KEY', 'an idempotency key'), isOption: true, isPrivate: true },
  },
  help: 'publish a message in a channel or room',
  details:
    'The channel keeps it for later subscribers, as --history says. Users in the chat room of this name see a text as a message from "server". With --key, a repeated call publishes once. sent: the number of subscribers.',
  logs: logsMessages,
  run(control, parameters) {
    const { channels } = control;
    const publication = publicationOf(parameters);
    return new Promise((resolve, reject) => {
      publish(channels, publication, outcome => {
        if (typeof outcome === 'string') reject(new ProtocolError(503, outcome));
        else {
          const { subscribers, id } = answerTo(channels, outcome);
          resolve({ sent: subscribers, id });
        }
      });
    });
  },
};

/** @throws ProtocolError 400 */
function publicationOf(parameters: CallValues): Publication {
  const { channel, text, bytes, as, event, ttl, key } = parameters;
  if (bytes !== undefined && as !== undefined)
    throw new ProtocolError(400, 'bytes are published as they are; leave out --as, or send a text');
  const kind = bytes !== undefined ? 'bytes' : ((as as MessageKind | undefined) ?? 'text');
  const publication: Publication = {
    channel: channel as string,
    kind,
    data: bytes ?? Buffer.from(text as string),
    event: event as string | undefined,
    ttl: ttl as number | undefined,
    key: key as string | undefined,
    publisher: 'operator' satisfies TokenHolder,
  };
  const why = publicationFault(publication) ?? contentFault(kind, publication.data);
  if (why !== undefined) throw new ProtocolError(400, why);
  return publication;
}

const broadcast: Command = {
  name: 'broadcast',
  parameters: { text: { kind: textValue, rest: true, isPrivate: true, orBytes: true } },
  help: 'send a message to everyone',
  details:
    'Chat users see the text as a line from "server"; bytes do not reach them. Event streams and polls of channels get only what is published. sent: the number of recipients.',
  logs: logsMessages,
  run(control, parameters) {
    const content = contentOf(parameters);
    const recipients: Connection[] = [];
    const subscribers: Connection[] = [];
    const chatters = new Map<ChatEncoder, Connection[]>();
    for (const entry of control.server.table.entries) {
      if (entry?.kind !== 'connection') continue;
      const user = userOf(control.chat, entry);
      if (user === undefined) {
        if (takesMessages(entry)) (takesJson(control, entry) ? subscribers : recipients).push(entry);
      } else if (content.isText && isOpen(entry)) {
        const members = chatters.get(user.encoder);
        if (members === undefined) chatters.set(user.encoder, [entry]);
        else members.push(entry);
      }
    }
    if (chatters.size > 0) checkForChat(content);
    sendToAll(recipients, undefined, wholeMessage(content.isText, content.bytes));
    if (subscribers.length > 0) sendToAll(subscribers, undefined, wholeMessage(true, inJson(content)));
    let sent = recipients.length + subscribers.length;
    for (const [encoder, members] of chatters) {
      sendToAll(members, undefined, encoder.history(fromServer(content), unnumbered));
      sent += members.length;
    }
    return { sent };
  },
};

export const sendCommands: readonly Command[] = [send, publishCommand, broadcast];
