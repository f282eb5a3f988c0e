/**
 * The packet sub-protocol. What a packet means depends on the connection's trust level: 1 expects the magic, 2 a nick, 3 accepts
 * all other commands. (Level 0 is the handshake.)
 */

import { establish } from '../../core/places.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { magic, type Packet, PacketCommand } from '../../protocol/tpacket.ts';
import type { Connection } from '../../records/records.ts';
import { addUser, authorizeRoom, chooseNick, enterRoom, flushArrival, roomFault } from './chat.ts';
import type { PacketEncoders } from './encoders.ts';
import { readName } from './names.ts';
import { postMessage } from './post.ts';
import { type Chat, sendToUser, type User } from './room.ts';

const magicBytes = Buffer.from(magic);

/**
 * Processes a packet according to the connection's trust level.
 * @throws ProtocolError 1008 if the peer does not speak this protocol
 */
export function processPacket(
  chat: Chat,
  connection: Connection,
  encoders: PacketEncoders,
  packet: Packet,
): void {
  if (connection.trustLevel === 3) processCommand(chat, connection.data as User, packet);
  else if (connection.trustLevel === 2) processNick(chat, connection, encoders, packet);
  else checkMagic(connection, packet);
}

/** Level 1: the first packet has the magic as its blob. It gets no reply. */
function checkMagic(connection: Connection, { cmd, bytes, start, end }: Packet): void {
  if (cmd !== PacketCommand.Nop || !magicBytes.equals(bytes.subarray(start, end))) {
    throw new ProtocolError(
      CloseCode.PolicyViolation,
      `the first packet must be cmd 0 with the blob "${magic}"`,
    );
  }
  advanceTrustLevel(connection);
}

/** Level 2: the blob is the nick. After an error the client may try again. */
function processNick(
  chat: Chat,
  connection: Connection,
  { plain, timed }: PacketEncoders,
  { cmd, uid, p2, bytes, start, end }: Packet,
): void {
  const encoder = p2 === 1 ? timed : plain;
  if (cmd === PacketCommand.Nop && start === end) return;
  const refuse = (why: string) => sendToUser({ connection }, encoder.error(uid, why));
  if (cmd > PacketCommand.SetUserNick || cmd < 0) return refuse('choose a nick first');
  const name = chooseNick(chat, connection, bytes.subarray(start, end));
  if (typeof name === 'string') return refuse(name);
  const user = addUser(chat, connection, encoder, name);
  if (typeof user === 'string') return refuse(user);
  connection.data = user;
  advanceTrustLevel(connection);
  sendToUser(user, encoder.ok(uid));
}

function advanceTrustLevel(connection: Connection): void {
  connection.trustLevel++;
  if (connection.trustLevel === 3) establish(connection);
  connection.stageSince = connection.server.now;
}

function refuse(user: User, request: number, why: string): void {
  sendToUser(user, user.encoder.error(request, why));
}

/** Level 3: one command of a user. */
function processCommand(chat: Chat, user: User, packet: Packet): void {
  const { cmd, uid, bytes, start, end } = packet;
  if (cmd === PacketCommand.Nop) return;
  flushArrival(user);
  switch (cmd) {
    case PacketCommand.SetUserNick:
      return refuse(user, uid, `you already have the nick ${user.nick.text}`);
    case PacketCommand.SetRoom: {
      if (user.room !== undefined) return refuse(user, uid, `you are already in ${user.room.name.text}`);
      const name = readName(bytes.subarray(start, end), 'room');
      if (typeof name === 'string') return refuse(user, uid, name);
      const why = roomFault(chat, name);
      if (why !== undefined) return refuse(user, uid, why);
      return authorizeRoom(chat, user.connection, name, refusal => {
        if (refusal !== undefined) return refuse(user, uid, refusal);
        sendToUser(user, user.encoder.ok(uid));
        enterRoom(chat, user, name);
      });
    }
    case PacketCommand.NewMsg: {
      const why = postMessage(chat, user, uid, packet);
      return why === undefined ? undefined : refuse(user, uid, why);
    }
    default:
      return refuse(user, uid, `unknown command ${cmd}`);
  }
}
