/**
 * What is spoken with clients that cannot have a WebSocket: frames, as with all others, which travel as JSON in HTTP
 * requests (polledSocket.ts). `poll` and `sse` differ in the requests by which messages get to the client.
 */
import type { Connection } from '../../core/connection.ts';
import { dropConnection } from '../../core/outbox.ts';
import { closeSession } from '../../core/processData.ts';
import { isLevelOverdue, readSocketData, websocket } from '../../core/readSocketData.ts';
import type { Wire } from '../../core/wire.ts';
import { noteDeadline } from '../../diagnostics/closeReason.ts';
import { CloseCode } from '../../protocol/codes.ts';
import type { PolledSocket } from './polledSocket.ts';

function newPolledWire(name: string): Wire {
  return {
    name,
    receive: readSocketData,
    isUrgent: () => false,
    close,
    onEnd,
    checkDeadlines,
  };
}

/** For clients that ask for messages, again and again. */
export const poll = newPolledWire('poll');
/** For clients that have a stream of events open. */
export const sse = newPolledWire('sse');

/** The last message says so. It needs no answer: for the handler it is over at once. */
function close(connection: Connection, code: number, reason: string): void {
  if (connection.endpoint?.state !== 'OPEN') return;
  websocket.close(connection, code, reason);
  closeSession(connection, code, reason);
  if ((connection.socket as PolledSocket).isOutOfReach()) dropConnection(connection);
}

function onEnd(connection: Connection, error: string | undefined): void {
  const { endpoint } = connection;
  if (endpoint?.state === 'OPEN') {
    closeSession(connection, CloseCode.AbnormalClosure, error ?? 'the client left');
  }
  if (endpoint !== undefined) endpoint.state = 'CLOSED';
}

function checkDeadlines(connection: Connection): void {
  const { endpoint, server } = connection;
  const { now } = server;
  const { handshakeTimeout, pollTimeout, closeTimeout } = server.configuration;
  const socket = connection.socket as PolledSocket;
  if (socket.requests > 0) socket.seenAt = now;
  if (pollTimeout > 0 && now - socket.seenAt >= pollTimeout) {
    noteDeadline(connection, 'no request', 'pollTimeout');
    onEnd(connection, `no request for ${pollTimeout / 1000} s`);
    dropConnection(connection);
  } else if (endpoint?.state === 'CLOSING') {
    // The client may still collect its messages, as long as it makes progress.
    if (socket.isTaking()) connection.endingAt = now;
    else if (closeTimeout > 0 && now - connection.endingAt >= closeTimeout) dropConnection(connection);
  } else if (isLevelOverdue(connection, handshakeTimeout)) {
    noteDeadline(connection, 'no magic and nick', 'handshakeTimeout');
    close(connection, CloseCode.PolicyViolation, `no magic and nick within ${handshakeTimeout / 1000} s`);
  }
}
