/** The `tpacket` handler is the chat over WebSocket: packets in binary messages. Anything else closes the connection. */

import { closeConnection } from '../../core/close.ts';
import { areMessagesPaused } from '../../core/connection.ts';
import { charge } from '../../core/fairness.ts';
import { deferRest } from '../../core/processData.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { newPacket, readPacket } from '../../protocol/tpacket.ts';
import type { Handler } from '../../records/records.ts';
import { chatNeed, flushRosterChanges, leaveChat } from './chat.ts';
import { newPacketEncoders } from './encoders.ts';
import { processPacket } from './processPacket.ts';
import type { Chat } from './room.ts';

export function newTpacketHandler(chat: Chat): Handler {
  const encoders = newPacketEncoders();
  const packet = newPacket();
  const handler: Handler = {
    name: 'tpacket',
    needs: () => [chatNeed(chat, '/tpacket')],

    opened(connection) {
      connection.trustLevel = 1;
      connection.stageSince = connection.server.now;
    },

    message(connection, message) {
      const { isText, bytes, start, end } = message;
      try {
        // RFC 6455 §7.4.1 [7.4.1-2]: 1003 is for a type of data that the endpoint does not accept.
        if (isText) throw new ProtocolError(CloseCode.UnsupportedData, 'packets must be binary messages');
        for (let at = start; at < end; ) {
          const size = readPacket(packet, bytes, at, end);
          if (size === 0)
            throw new ProtocolError(CloseCode.PolicyViolation, 'the message ends within a packet');
          processPacket(chat, connection, encoders, packet);
          at += size;
          if (at < end && (areMessagesPaused(connection) || !charge(connection, size)))
            return deferRest(connection, message, at);
        }
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        closeConnection(connection, error.code, error.message);
      }
    },

    closed: connection => leaveChat(chat, connection),

    turnEnds() {
      handler.isIdle = true;
      flushRosterChanges(chat);
    },
  };
  chat.handler = handler;
  return handler;
}
