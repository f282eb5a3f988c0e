/**
 * Packets, and the ladder of trust that a connection climbs with them: 1 it knows the magic, 2 it has a nick, 3 it may do
 * everything else. (Level 0 is the handshake.)
 */
import type { Connection } from '../../core/connection.ts';
import { establish } from '../../core/places.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { magic, type Packet, PacketCommand } from '../../protocol/tpacket.ts';
import { addUser, enterRoom, findRoom, settleArrival } from './chat.ts';
import type { PacketVoices } from './encoders.ts';
import { readName } from './names.ts';
import { say } from './post.ts';
import { type Chat, tell, type User } from './room.ts';

const magicBytes = Buffer.from(magic);

/**
 * A packet came: what it means at this connection's level of trust.
 * @returns false if the packet has to wait: give it again in a later turn, before all others of this connection
 * @throws ProtocolError 1008 where the peer cannot be talking this protocol
 */
export function receivePacket(
  chat: Chat,
  connection: Connection,
  voices: PacketVoices,
  packet: Packet,
): boolean {
  if (connection.trustLevel === 3) return processPacket(chat, connection.data as User, packet);
  if (connection.trustLevel === 2) takeNick(chat, connection, voices, packet);
  else checkMagic(connection, packet);
  return true;
}

/** Level 1: the first packet says the magic, and is not answered. */
function checkMagic(connection: Connection, { cmd, bytes, start, end }: Packet): void {
  if (cmd !== PacketCommand.Nop || !magicBytes.equals(bytes.subarray(start, end))) {
    throw new ProtocolError(CloseCode.PolicyViolation, 'the first packet is not the magic one');
  }
  climb(connection);
}

/** Level 2: the blob is the nick. Whoever is refused may try again. */
function takeNick(
  chat: Chat,
  connection: Connection,
  { plain, timed }: PacketVoices,
  { cmd, uid, p2, bytes, start, end }: Packet,
): void {
  const voice = p2 === 1 ? timed : plain;
  if (cmd === PacketCommand.Nop && start === end) return;
  const refuse = (why: string) => tell({ connection }, voice.refused(uid, why));
  if (cmd > PacketCommand.SetUserNick || cmd < 0) return refuse('choose a nick first');
  const name = readName(bytes.subarray(start, end), 'nick');
  if (typeof name === 'string') return refuse(name);
  const user = addUser(chat, connection, voice, name);
  if (typeof user === 'string') return refuse(user);
  connection.data = user;
  climb(connection);
  tell(user, voice.granted(uid));
}

function climb(connection: Connection): void {
  connection.trustLevel++;
  if (connection.trustLevel === 3) establish(connection);
  connection.stageSince = connection.server.now;
}

/** Level 3: one command, from someone who has a nick. @returns false while the room's history is being read */
export function processPacket(chat: Chat, user: User, { cmd, uid, bytes, start, end }: Packet): boolean {
  const refuse = (why: string) => {
    tell(user, user.voice.refused(uid, why));
    return true;
  };
  if (cmd === PacketCommand.Nop) return true;
  settleArrival(user);
  switch (cmd) {
    case PacketCommand.SetUserNick:
      return refuse(`your nick is ${user.nick.text} already`);
    case PacketCommand.SetRoom: {
      if (user.room !== undefined) return refuse(`you are in ${user.room.name.text} already`);
      const name = readName(bytes.subarray(start, end), 'room');
      if (typeof name === 'string') return refuse(name);
      const room = findRoom(chat, name);
      if (typeof room === 'string') return refuse(room);
      if (room === undefined) return false;
      tell(user, user.voice.granted(uid));
      enterRoom(chat, user, room);
      return true;
    }
    case PacketCommand.NewMsg: {
      const why = say(chat, user, uid, bytes.subarray(start, end));
      return why === undefined || refuse(why);
    }
    default:
      return refuse(`there is no command ${cmd} for clients`);
  }
}
