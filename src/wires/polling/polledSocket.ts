/**
 * The socket of a client over HTTP, which is made of requests: messages wait here, numbered, until a request carries them to
 * the client (a poll, or a stream of events), and stay until the client acknowledges them, so a lost answer loses none. The
 * client's own messages arrive with other requests.
 *
 * To the rest of the server it is like any other: it is busy when as much is unacknowledged as a system's buffer holds.
 */
import { type Chunk, outputArena } from '../../core/arena.ts';
import type { Connection } from '../../core/connection.ts';
import { injectInput } from '../../core/fairness.ts';
import { dropConnection, scheduleFlush } from '../../core/outbox.ts';
import { closeSession } from '../../core/processData.ts';
import { type Range, releaseInFlight } from '../../core/queue.ts';
import { isLevelOverdue, readSocketData, websocket } from '../../core/readSocketData.ts';
import type { Server } from '../../core/server.ts';
import type { Socket } from '../../core/socket.ts';
import type { Wire } from '../../core/wire.ts';
import { noteDeadline } from '../../diagnostics/closeReason.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { eventStreamLifetime, pollWindow } from '../../protocol/limits.ts';
import { type Posted, showClosing } from '../../protocol/polling.ts';
import type { Fields } from '../route.ts';
import { answerEmpty, answerPoll, EventStream } from './answers.ts';
import {
  addFrames,
  type Backlog,
  clearBacklog,
  newBacklog,
  overheadOf,
  pauseBacklog,
  removeUntil,
  shareOf,
} from './backlog.ts';

/** A request that waits for messages to carry to the client. */
export interface PollRequest {
  readonly connection: Connection;
  /** Header fields that its answer has, beside others. */
  readonly fields: Fields;
  /** When it began to wait. */
  readonly since: number;
  /** Goes on with one message after the other, as events; without it the first messages are the answer. */
  stream: EventStream | undefined;
}

/** A request that brings messages, and has to wait until those before it are worked through. */
interface PendingPost {
  readonly connection: Connection;
  readonly since: number;
  readonly retry: () => void;
  /** It has waited for too long. */
  readonly giveUp: () => void;
}

export class PolledSocket implements Socket {
  readonly isVirtual = true;
  isBusy = false;
  /** Set by `start`. */
  connection!: Connection;
  pollRequest: PollRequest | undefined;
  pendingPost: PendingPost | undefined;
  /** Requests of its client that are not over: one may be on its way in, another one's answer on its way out. */
  requests = 0;
  /** When there was a request last. */
  seenAt: number;
  /** The client's messages up to this number were taken. */
  takenSeq = 0;
  /** Messages that are not acknowledged. */
  private readonly backlog: Backlog;
  /** The last number that was given to a request. */
  private carriedSeq = 0;
  /** The request that messages were given to last, and the turn in which that was. */
  private lastRequest: Connection | undefined;
  private lastRequestTurn = 0;
  private lastStream: EventStream | undefined;
  /** Of the backlog, when the session was closed: see `isTaking`. */
  private takenBefore = 0;
  private readonly peer: string;
  private readonly forget: () => void;

  /**
   * @param peer the client's address
   * @param forget is called when it is over
   */
  constructor({ now, arena }: Server, peer: string, forget: () => void) {
    this.peer = peer;
    this.seenAt = now;
    this.backlog = newBacklog(arena);
    this.forget = forget;
  }

  start(connection: Connection): void {
    this.connection = connection;
  }

  address(): string {
    return this.peer;
  }

  unsent(): number {
    return this.backlog.size;
  }

  writeOne(_bytes: Buffer, start: number, end: number): number {
    // The flush writes what the queue has, and empties it afterwards.
    this.keep(this.connection.queue.chunk!, start, end);
    this.carry();
    return 0;
  }

  write(ranges: readonly Range[]): number {
    for (const { chunk, start, end } of ranges) this.keep(chunk, start, end);
    this.carry();
    return 0;
  }

  private keep(chunk: Chunk, start: number, end: number): void {
    const { backlog } = this;
    addFrames(backlog, chunk, start, end, outputArena.epoch);
    this.isBusy = backlog.size >= pollWindow;
    if (this.isBusy || backlog.closing !== undefined) pauseBacklog(backlog);
  }

  /**
   * The client has all messages up to `seq`.
   * @throws ProtocolError 400 where it cannot have them
   */
  acknowledge(seq: number): void {
    const { backlog, connection } = this;
    this.noteCarried(this.lastStream?.carriedSeq ?? 0);
    if (seq > this.carriedSeq) throw new ProtocolError(400, `no message ${seq} was sent yet`);
    removeUntil(backlog, seq);
    if (!this.isBusy || backlog.size >= pollWindow) return;
    this.isBusy = false;
    releaseInFlight(connection.queue);
    scheduleFlush(connection);
  }

  private noteCarried(seq: number): void {
    this.carriedSeq = Math.max(this.carriedSeq, seq);
  }

  /**
   * A request waits for messages from now on; the one that did before is answered. The newest knows best what is missing.
   * @param isStream it wants a stream of events
   */
  attach(request: Connection, fields: Fields, isStream: boolean): void {
    this.release();
    const stream = isStream ? new EventStream(request, fields, this.backlog) : undefined;
    this.pollRequest = { connection: request, fields, since: request.server.now, stream };
    if (this.isAnswerUnread()) {
      // Many requests at once are not all given everything.
      if (this.lastRequestTurn === request.server.counters.turns) return this.release();
      dropConnection(this.lastRequest!);
    }
    if (stream !== undefined) {
      this.noteCarried(this.lastStream?.carriedSeq ?? 0);
      this.lastStream = stream;
      this.lastRequest = request;
    }
    this.carry();
  }

  /** Whether the answer to the last request is still unread in part: the client does not read, or asks faster than it reads. */
  private isAnswerUnread(): boolean {
    const { lastRequest } = this;
    if (lastRequest === undefined || lastRequest.phase === 'gone') return false;
    if (lastRequest.queue.size > 0) return true;
    return lastRequest.producer instanceof EventStream
      ? lastRequest.producer.isBehind
      : lastRequest.producer !== undefined;
  }

  /** Answers the request that waits, even if there is nothing to tell. */
  release(): void {
    const { pollRequest } = this;
    this.pollRequest = undefined;
    if (pollRequest === undefined) return;
    const { connection, fields, stream } = pollRequest;
    if (connection.phase !== 'open') return;
    if (stream !== undefined) stream.end(connection);
    else answerEmpty(connection, fields, this.backlog);
  }

  /** Gives what is there to the request that waits, if one does. */
  private carry(): void {
    const { pollRequest, backlog } = this;
    if (pollRequest === undefined || pollRequest.connection.phase !== 'open') return;
    const { connection, fields, stream } = pollRequest;
    if (backlog.firstSeq > backlog.lastSeq && backlog.closing === undefined) return;
    this.lastRequest = connection;
    this.lastRequestTurn = connection.server.counters.turns;
    if (stream !== undefined) {
      scheduleFlush(connection);
    } else {
      this.pollRequest = undefined;
      this.noteCarried(answerPoll(connection, fields, backlog, connection.server.isDraining));
    }
    // A client cannot poll again while the server drains: this answer carries all the rest.
    if (backlog.closing !== undefined && connection.server.isDraining) dropConnection(this.connection);
  }

  /** The peer of one of its requests has ended its direction, or is gone. */
  requestLost(request: Connection, isGone: boolean): void {
    if (isGone && this.pendingPost?.connection === request) this.pendingPost = undefined;
    if (isGone && this.lastRequest === request) this.lastRequest = undefined;
    if (this.pollRequest?.connection !== request) return;
    // A client that ended its direction may still wait for the answer to a poll. A stream that is not read has no use.
    if (isGone) this.pollRequest = undefined;
    else if (this.pollRequest.stream !== undefined) this.release();
  }

  /** One of its requests is not answered yet: looks whether it is time. */
  checkRequest(request: Connection): void {
    const { pollRequest, pendingPost } = this;
    const { now, configuration } = request.server;
    const isDue = (since: number, time: number) => time > 0 && now - since >= time;
    if (pendingPost?.connection === request && isDue(pendingPost.since, configuration.pingInterval)) {
      this.pendingPost = undefined;
      pendingPost.giveUp();
    } else if (pollRequest?.connection === request) {
      const { stream, since } = pollRequest;
      if (isDue(since, stream === undefined ? configuration.pingInterval : eventStreamLifetime))
        this.release();
      else if (stream !== undefined && isDue(stream.wroteAt, configuration.pingInterval))
        stream.sendHeartbeat(request);
    }
  }

  /** The server is going away, and there is no request by which the client could be told. */
  cannotBeNotified(): boolean {
    return this.pollRequest?.connection.phase !== 'open' && this.connection.server.isDraining;
  }

  /** Whether messages of the client are still to be worked through, or it has to take something first. */
  isReadPaused(): boolean {
    return !this.connection.isReading;
  }

  /** Takes messages of the client, in the next turn. Not while it is occupied. */
  give(posted: Posted): void {
    this.takenSeq += posted.length;
    if (posted.length > 0)
      injectInput(this.connection, posted.length === 1 ? posted[0]! : Buffer.concat(posted));
  }

  pause(): void {}

  resume(): void {
    const { pendingPost } = this;
    this.pendingPost = undefined;
    pendingPost?.retry();
  }

  /** Each request is kept alive by itself, and ends by itself. */
  keepAlive(): void {}
  shutdown(): void {}

  /** Whether the client has taken some of the backlog since this was asked last, or an answer is on its way. */
  isTaking(): boolean {
    const { taken } = this.backlog;
    const hasTaken = taken > this.takenBefore;
    this.takenBefore = taken;
    return hasTaken || this.isAnswerUnread();
  }

  held(): number {
    return overheadOf(this.backlog);
  }

  share(): number {
    return shareOf(this.backlog);
  }

  /** Forgets what the client has not taken. */
  discard(): void {
    clearBacklog(this.backlog);
    if (this.isAnswerUnread()) dropConnection(this.lastRequest!);
  }

  destroy(): void {
    this.forget();
    releaseInFlight(this.connection.queue);
    // The client is not left waiting, whatever became of its session.
    this.backlog.closing ??= showClosing(CloseCode.AbnormalClosure, '');
    this.carry();
    this.resume();
    clearBacklog(this.backlog);
  }
}

/**
 * What is spoken with clients that cannot have a WebSocket: frames, as with all others, which travel as JSON in HTTP
 * requests (polledSocket.ts). `pollWire` and `sseWire` differ in the requests by which messages get to the client.
 */

function newPolledWire(name: string): Wire {
  return {
    name,
    receive: readSocketData,
    close,
    onEnd,
    checkDeadlines,
  };
}

/** For clients that ask for messages, again and again. */
export const pollWire = newPolledWire('poll');
/** For clients that have a stream of events open. */
export const sseWire = newPolledWire('sse');

/** The last message says so. It needs no answer: for the handler it is over at once. */
function close(connection: Connection, code: number, reason: string): void {
  if (connection.endpoint?.state !== 'OPEN') return;
  websocket.close(connection, code, reason);
  closeSession(connection, code, reason);
  if ((connection.socket as PolledSocket).cannotBeNotified()) dropConnection(connection);
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
