import { charge } from '../../core/fairness.ts';
import type { Handler } from '../../core/handler.ts';
import { deferRest } from '../../core/processData.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { newPacket, readPacket } from '../../protocol/tpacket.ts';
import { leaveChat, settleChanges } from './chat.ts';
import { newPacketVoices } from './encoders.ts';
import { readSlices } from './loadHistory.ts';
import { writeWaiting } from './post.ts';
import { receivePacket } from './processPacket.ts';
import type { Chat } from './room.ts';

/** The packet sub-protocol over WebSocket: the chat. Anything that is no packet ends the connection with 1008. */
export function newTpacketHandler(chat: Chat): Handler {
  const voices = newPacketVoices();
  const packet = newPacket();
  return {
    name: 'tpacket',
    opened(connection) {
      connection.trustLevel = 1;
      connection.stageSince = connection.server.now;
    },

    message(connection, message) {
      const { isText, bytes, start, end } = message;
      try {
        if (isText) throw new ProtocolError(CloseCode.UnsupportedData, 'packets are binary');
        for (let at = start; at < end; ) {
          const size = readPacket(packet, bytes, at, end);
          if (size === 0)
            throw new ProtocolError(CloseCode.PolicyViolation, 'a packet that its message cuts short');
          if (!receivePacket(chat, connection, voices, packet)) {
            connection.isThrottled = true;
            return deferRest(connection, message, at);
          }
          at += size;
          if (at < end && !charge(connection, size)) return deferRest(connection, message, at);
        }
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        connection.wire.close(connection, error.code, error.message);
      }
    },

    closed: connection => leaveChat(chat, connection),

    turnEnds() {
      writeWaiting(chat);
      settleChanges(chat);
      readSlices(chat);
    },
  };
}
