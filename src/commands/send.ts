/** Commands that say something to those who are connected. */
import type { Connection } from '../core/connection.ts';
import { sendPush, sendToAll } from '../core/send.ts';
import { userOf, withRoomForPost } from '../handlers/chat/chat.ts';
import type { Name } from '../handlers/chat/names.ts';
import { postAsServer } from '../handlers/chat/post.ts';
import { type ChatEncoder, serverNick } from '../handlers/chat/room.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { maxPacketBlob } from '../protocol/limits.ts';
import { type CallValues, type Command, speech } from './command.ts';
import { findConnection, room as roomName, type Target, target, textValue } from './values.ts';

/** What is to be said: a text, or bytes. */
interface Said {
  readonly isText: boolean;
  readonly bytes: Buffer;
}

function readSaid({ text, bytes }: CallValues): Said {
  return bytes === undefined
    ? { isText: true, bytes: Buffer.from(text as string) }
    : { isText: false, bytes };
}

/** No history keeps these messages: they have no place in a room's past. */
const unkept = 0;

/** As someone in the chat sees it. */
const fromServer = ({ bytes }: Said) => Buffer.concat([Buffer.from(`${serverNick}: `), bytes]);

/** Whether messages can be sent there as they are: not while it shakes hands, nor once it closes; the chat has packets. */
function canHear(connection: Connection): boolean {
  const { handler } = connection;
  return isOpen(connection) && handler !== undefined && handler.name !== 'tpacket';
}

function isOpen({ phase, endpoint }: Connection): boolean {
  return phase === 'open' && (endpoint === undefined || endpoint.state === 'OPEN');
}

/** @throws ProtocolError where it is nothing that the chat has */
function checkForChat({ isText, bytes }: Said): void {
  if (!isText) throw new ProtocolError(409, 'the chat has texts only, no bytes');
  if (bytes.length > maxPacketBlob)
    throw new ProtocolError(409, `a message must have at most ${maxPacketBlob} bytes`);
}

export const send: Command = {
  name: 'send',
  parameters: { to: { kind: target }, text: { kind: textValue, rest: true, isPrivate: true, orBytes: true } },
  help: 'say something to one connection',
  journal: speech,
  run(control, values) {
    const said = readSaid(values);
    const connection = findConnection(control, values['to'] as Target);
    const user = userOf(control.chat, connection);
    if (user !== undefined && isOpen(connection)) {
      checkForChat(said);
      const line = user.encoder.history(fromServer(said), unkept);
      sendPush(connection, false, line, 0, line.length);
    } else if (user === undefined && canHear(connection)) {
      sendPush(connection, said.isText, said.bytes, 0, said.bytes.length);
    } else {
      throw new ProtocolError(409, `connection ${connection.id} is not ready for messages`);
    }
    if (connection.isSlowConsumer) {
      throw new ProtocolError(
        409,
        `connection ${connection.id} does not read, and is closed (--max-buffered)`,
      );
    }
    return { sent: 1 };
  },
};

export const broadcast: Command = {
  name: 'broadcast',
  parameters: { text: { kind: textValue, rest: true, isPrivate: true, orBytes: true } },
  help: 'say something to everyone',
  journal: speech,
  run(control, values) {
    const said = readSaid(values);
    const listeners: Connection[] = [];
    const chatters = new Map<ChatEncoder, Connection[]>();
    for (const entry of control.server.table.entries) {
      if (entry?.kind !== 'connection') continue;
      const user = userOf(control.chat, entry);
      if (user === undefined) {
        if (canHear(entry)) listeners.push(entry);
      } else if (said.isText && isOpen(entry)) {
        const members = chatters.get(user.encoder);
        if (members === undefined) chatters.set(user.encoder, [entry]);
        else members.push(entry);
      }
    }
    if (chatters.size > 0) checkForChat(said);
    const { isText, bytes } = said;
    sendToAll(listeners, undefined, isText, bytes, 0, bytes.length);
    let sent = listeners.length;
    for (const [encoder, members] of chatters) {
      const line = encoder.history(fromServer(said), unkept);
      sendToAll(members, undefined, false, line, 0, line.length);
      sent += members.length;
    }
    return { sent };
  },
};

export const publish: Command = {
  name: 'publish',
  parameters: { room: { kind: roomName }, text: { kind: textValue, rest: true, isPrivate: true } },
  help: 'say something in a room of the chat',
  journal: speech,
  run({ chat }, { room: name, text }) {
    const sent = withRoomForPost(chat, name as Name, room => {
      const why = postAsServer(chat, room, Buffer.from(text as string));
      if (why !== undefined) throw new ProtocolError(409, why);
      return { sent: room.users.size };
    });
    if (typeof sent === 'string') throw new ProtocolError(500, sent);
    return sent;
  },
};
