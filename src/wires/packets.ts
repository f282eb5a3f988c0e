/** The packet sub-protocol over plain TCP: the same packets as in WebSocket messages, back to back. */

import { logForAddress } from '../core/addressLog.ts';
import { endConnection } from '../core/close.ts';
import { charge, startBudget } from '../core/fairness.ts';
import { countMessage, openRawSession } from '../core/processData.ts';
import { limitMessages } from '../core/rates.ts';
import { noteClosing, noteDeadline, noteEnding } from '../diagnostics/closeReason.ts';
import { countRefused } from '../diagnostics/metrics.ts';
import { recordBytes } from '../diagnostics/recorder.ts';
import { chatNeed, leaveChat } from '../handlers/chat/chat.ts';
import { newPacketEncoders } from '../handlers/chat/encoders.ts';
import { processPacket } from '../handlers/chat/processPacket.ts';
import { type Chat, sendToUser } from '../handlers/chat/room.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { newPacket, packetSignature, readPacket } from '../protocol/tpacket.ts';
import type { Connection, Wire } from '../records/records.ts';

/** The uid of an error that is not a reply to a packet: it closes the connection. */
const noRequest = -1;

export function newPacketsWire(chat: Chat): Wire {
  const encoders = newPacketEncoders();
  const packet = newPacket();

  function refuse(connection: Connection, why: string): void {
    logForAddress(connection, 'info', 'refused', {
      id: connection.id,
      address: connection.address,
      reason: why,
    });
    noteEnding(connection, 'server', `the server refused a packet: ${why}`, { cause: 'refused' });
    countRefused(connection.server, 'packet');
    sendToUser({ connection }, encoders.plain.error(noRequest, why));
    leave(connection);
  }

  function leave(connection: Connection): void {
    leaveChat(chat, connection);
    endConnection(connection);
  }

  return {
    name: 'packets',
    need: () => chatNeed(chat, '/tpacket'),

    matches(bytes, start, end) {
      // This check runs for every connection, so the first byte is compared first.
      if (end > start && bytes[start] !== packetSignature[0]) return false;
      const known = Math.min(end - start, packetSignature.length);
      if (packetSignature.compare(bytes, start, start + known, 0, known) !== 0) return false;
      return known === packetSignature.length ? true : undefined;
    },

    begin(connection) {
      openRawSession(connection, 1);
    },

    receive(connection, bytes, start, end) {
      recordBytes(connection, bytes, start + connection.inputScanned, end);
      startBudget(connection);
      let at = start;
      try {
        while (connection.phase === 'open') {
          const size = readPacket(packet, bytes, at, end);
          if (size === 0) break;
          processPacket(chat, connection, encoders, packet);
          at += size;
          countMessage(connection);
          if (connection.rate !== undefined) limitMessages(connection, connection.rate);
          if (!charge(connection, size)) break;
        }
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refuse(connection, error.message);
        return end;
      }
      return at;
    },

    close(connection, _code, reason) {
      if (connection.phase !== 'open') return;
      noteClosing(connection, reason);
      sendToUser({ connection }, encoders.plain.error(noRequest, reason));
      leave(connection);
    },

    onEnd: leave,

    checkDeadlines(connection) {
      const { now, configuration } = connection.server;
      const { handshakeTimeout } = configuration;
      if (connection.trustLevel === 3 || handshakeTimeout === 0) return;
      if (now - connection.stageSince >= handshakeTimeout) {
        noteDeadline(connection, 'no magic string and nick', 'handshakeTimeout');
        refuse(connection, `no magic string and nick within ${handshakeTimeout / 1000} s`);
      }
    },
  };
}
