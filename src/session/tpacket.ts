import type { Handler } from '../connection/handler.ts';
import { maxPacketMessage } from '../protocol/bounds.ts';
import { CloseCode, ProtocolError } from '../protocol/codes.ts';
import { newPacket, readPacket } from '../protocol/packet.ts';
import { type Chat, removeUser, type User, writeWaiting } from './chat.ts';
import { newPacketVoice } from './packetVoice.ts';
import { receivePacket } from './processPacket.ts';

/** The packet sub-protocol over WebSocket: the chat. Anything that is no packet ends the connection with 1008. */
export function newTpacketHandler(chat: Chat): Handler {
  const voice = newPacketVoice();
  const packet = newPacket();
  return {
    name: 'tpacket',
    maxMessage: maxPacketMessage,

    opened(connection) {
      connection.trustLevel = 1;
      connection.levelAt = connection.server.now;
    },

    message(connection, { isText, bytes, start, end }) {
      try {
        if (isText) throw new ProtocolError(CloseCode.UnsupportedData, 'packets are binary');
        for (let at = start; at < end; ) {
          const size = readPacket(packet, bytes, at, end);
          if (size === 0)
            throw new ProtocolError(CloseCode.PolicyViolation, 'a packet that its message cuts short');
          receivePacket(chat, connection, voice, packet);
          at += size;
        }
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        connection.wire.close(connection, error.code, error.message);
      }
    },

    closed(connection) {
      const user = connection.data as User | undefined;
      connection.data = undefined;
      if (user !== undefined) removeUser(chat, user);
    },

    turnEnds() {
      writeWaiting(chat);
    },
  };
}
