/** The deadlines of the HTTP wire: of a request, of its answer, and of the time between two requests. */
import { dropConnection, endConnection } from '../core/close.ts';
import { hasInputStalled, hasOutputStalled, startSending } from '../core/progress.ts';
import { noteDeadline, noteOverdue } from '../diagnostics/closeReason.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { minRate } from '../protocol/limits.ts';
import type { Connection } from '../records/records.ts';
import { type HttpState, httpState, type Request, refuseRequest } from './route.ts';

export function checkHttpDeadlines(connection: Connection): void {
  const state = httpState(connection);
  if (state?.request !== undefined) checkRequest(connection, state.request);
  else if (connection.queue.size > 0 && state !== undefined) checkUnreadAnswer(connection, state);
  else if (connection.input !== undefined) checkHead(connection, state?.since ?? connection.acceptedAt);
  else checkIdle(connection, state);
}

/** Checks a request whose head has arrived. `--idle-timeout` does not apply to requests. */
function checkRequest(connection: Connection, request: Request): void {
  const { server } = connection;
  const { handshakeTimeout, closeTimeout } = server.configuration;
  connection.messageAt = server.now;
  if (request.waiting !== undefined) {
    if (handshakeTimeout === 0 || server.now - request.waiting.since < handshakeTimeout) return;
    const reason = `the server could not identify you within ${handshakeTimeout / 1000} s; try again later`;
    refuseRequest(connection, new ProtocolError(503, reason, {}, 'handshakeTimeout'));
  } else if (!request.isWhole) {
    // RFC 9110 §15.5.9: 408. A body may take any time as long as it keeps the minimum rate.
    if (!hasInputStalled(connection, handshakeTimeout)) return;
    const reason = `the body arrived at less than ${minRate} bytes a second for ${handshakeTimeout / 1000} s`;
    refuseRequest(connection, new ProtocolError(408, reason, {}, 'handshakeTimeout'));
  } else if (request.isPromised) {
    if (connection.queue.size === 0 && connection.producer === undefined) startSending(connection);
    else if (hasOutputStalled(connection, closeTimeout)) dropUnread(connection);
  } else {
    request.route?.checkDeadlines?.(connection);
  }
}

/** An answer is queued, but the client has not read all of it. */
function checkUnreadAnswer(connection: Connection, state: HttpState): void {
  const { server } = connection;
  connection.messageAt = server.now;
  state.since = server.now;
  if (hasOutputStalled(connection, server.configuration.closeTimeout)) dropUnread(connection);
}

function dropUnread(connection: Connection): void {
  noteOverdue(connection, 'the client did not read the answer', 'closeTimeout');
  dropConnection(connection);
}

/** A request has begun to arrive. */
function checkHead(connection: Connection, since: number): void {
  const { now, configuration } = connection.server;
  const { handshakeTimeout } = configuration;
  if (handshakeTimeout === 0 || now - since < handshakeTimeout) return;
  const reason = `no whole request within ${handshakeTimeout / 1000} s`;
  refuseRequest(connection, new ProtocolError(408, reason, {}, 'handshakeTimeout'));
}

/**
 * Ends a connection that has no request. Between two requests it is dropped: everything is sent, and clients with a pool of
 * connections notice our FIN only when they need the connection again.
 */
export function endIdle(connection: Connection): void {
  const isBetween = (httpState(connection)?.count ?? 0) > 0 && connection.input === undefined;
  if (isBetween && connection.queue.size === 0) dropConnection(connection);
  else endConnection(connection);
}

/** The first request, or the next one on a kept connection, has not begun to arrive. */
function checkIdle(connection: Connection, state: HttpState | undefined): void {
  const { now, configuration } = connection.server;
  const { handshakeTimeout, keepAlive } = configuration;
  if (state !== undefined && state.count > 0) {
    connection.messageAt = now;
    if (now - state.since >= keepAlive) endIdle(connection);
  } else if (handshakeTimeout > 0 && now - connection.acceptedAt >= handshakeTimeout) {
    noteDeadline(connection, 'nothing arrived', 'handshakeTimeout');
    dropConnection(connection);
  }
}
