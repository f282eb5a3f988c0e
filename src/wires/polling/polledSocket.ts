/**
 * The virtual socket of a polling client. It numbers and queues outgoing messages until a request (a poll or an event stream)
 * carries them to the client, and keeps them until the client acknowledges them, so a lost answer loses no message. The
 * client's own messages arrive in POST requests.
 *
 * The rest of the server sees an ordinary socket, which is busy while a window of bytes is unacknowledged.
 */

import { dropConnection } from '../../core/close.ts';
import { isLevelOverdue } from '../../core/deadlines.ts';
import { injectInput } from '../../core/fairness.ts';
import { closeSession } from '../../core/processData.ts';
import { readSocketData } from '../../core/readSocketData.ts';
import { scheduleFlush } from '../../core/send.ts';
import { noteDeadline } from '../../diagnostics/closeReason.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { eventStreamLifetime, pollWindow } from '../../protocol/limits.ts';
import { type Posted, showClosing } from '../../protocol/polling.ts';
import { type Chunk, outputArena, type Range, releaseInFlight } from '../../records/arena.ts';
import type { Connection, Server, Socket, Wire } from '../../records/records.ts';
import { type Fields, httpState } from '../route.ts';
import { isStreamUnread } from '../unreadStream.ts';
import { websocket } from '../websocket.ts';
import { answerEmpty, answerPoll, EventStream } from './answers.ts';
import {
  addFrames,
  type Backlog,
  clearBacklog,
  newBacklog,
  overheadOf,
  pauseBacklog,
  recentShareOf,
  removeUntil,
} from './backlog.ts';

/** A request that waits for messages to carry to the client. */
interface PollRequest {
  readonly connection: Connection;
  /** Additional header fields of the answer. */
  readonly fields: Fields;
  /** When the request began to wait. */
  readonly since: number;
  /** The event stream, if the client asked for one; a poll has none. */
  stream: EventStream | undefined;
}

/** A POST that waits until the client's earlier messages are processed. */
interface PendingPost {
  readonly connection: Connection;
  readonly since: number;
  readonly retry: () => void;
  /** Answers that the request has waited too long. */
  readonly reject: () => void;
}

export class PolledSocket implements Socket {
  readonly isVirtual = true;
  isBusy = false;
  /** Set by `start`. */
  connection!: Connection;
  pollRequest: PollRequest | undefined;
  pendingPost: PendingPost | undefined;
  /** The number of requests that are in progress: arriving, waiting, or being answered. */
  requests = 0;
  /** The time of the last request. */
  seenAt: number;
  /** The number of the last message accepted from the client. */
  acceptedSeq = 0;
  /** Messages that the client has not acknowledged. */
  private readonly backlog: Backlog;
  /** The number of the last message that was given to a request. */
  private carriedSeq = 0;
  /** The connection of the last request that was given messages, its number there, and the number of the turn. */
  private lastRequest: Connection | undefined;
  private lastRequestNumber = 0;
  private lastRequestTurn = 0;
  private lastStream: EventStream | undefined;
  /** `backlog.removed` at the last check for progress: see `updateProgress`. */
  private removedBefore = 0;
  private readonly peer: string;
  private readonly onDestroy: () => void;

  /**
   * @param peer the client's address
   * @param onDestroy called when the session has ended
   */
  constructor({ now, arena }: Server, peer: string, onDestroy: () => void) {
    this.peer = peer;
    this.seenAt = now;
    this.backlog = newBacklog(arena);
    this.onDestroy = onDestroy;
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
    // The flush writes the queue's only chunk, and resets the queue afterwards.
    this.keep(this.connection.queue.chunk!, start, end);
    this.deliver();
    return 0;
  }

  write(ranges: readonly Range[]): number {
    for (const { chunk, start, end } of ranges) this.keep(chunk, start, end);
    this.deliver();
    return 0;
  }

  private keep(chunk: Chunk, start: number, end: number): void {
    const { backlog } = this;
    addFrames(backlog, chunk, start, end, outputArena.epoch);
    this.isBusy = backlog.size >= pollWindow;
    if (this.isBusy || backlog.closing !== undefined) pauseBacklog(backlog);
  }

  /**
   * Removes the messages up to `seq`, which the client has received.
   * @throws ProtocolError 400 if `seq` was not sent yet
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
   * Lets a request wait for messages. An earlier one that still waits is answered: the newest request has the latest
   * acknowledgement.
   * @param isStream whether the client asked for an event stream
   */
  attach(request: Connection, fields: Fields, isStream: boolean): void {
    this.release();
    const stream = isStream ? new EventStream(request, fields, this.backlog) : undefined;
    this.pollRequest = { connection: request, fields, since: request.server.now, stream };
    if (this.isAnswerUnread()) {
      // If many requests arrive in one turn, only one is given the messages.
      if (this.lastRequestTurn === request.server.counters.turns) return this.release();
      dropConnection(this.lastRequest!);
    }
    if (stream !== undefined) {
      this.noteCarried(this.lastStream?.carriedSeq ?? 0);
      this.lastStream = stream;
      this.noteLastRequest(request);
    }
    this.deliver();
  }

  private noteLastRequest(request: Connection): void {
    this.lastRequest = request;
    this.lastRequestNumber = requestNumber(request);
  }

  /** Whether the client has not read all of the last answer yet: it does not read, or polls faster than it reads. */
  isAnswerUnread(): boolean {
    const { lastRequest } = this;
    if (lastRequest === undefined || lastRequest.phase === 'gone') return false;
    // A later request on the same connection: backpressure limits how many answers wait there.
    if (requestNumber(lastRequest) !== this.lastRequestNumber) return false;
    if (lastRequest.queue.size > 0) return true;
    return lastRequest.producer instanceof EventStream
      ? lastRequest.producer.isBehind
      : lastRequest.producer !== undefined;
  }

  /** Answers the waiting request at once, even without messages. */
  release(): void {
    const { pollRequest } = this;
    this.pollRequest = undefined;
    if (pollRequest === undefined) return;
    const { connection, fields, stream } = pollRequest;
    if (connection.phase !== 'open') return;
    if (stream !== undefined) stream.end(connection);
    else answerEmpty(connection, fields, this.backlog);
  }

  /** Gives queued messages to the waiting request, if there are any and one waits. */
  private deliver(): void {
    const { pollRequest, backlog } = this;
    if (pollRequest === undefined || pollRequest.connection.phase !== 'open') return;
    const { connection, fields, stream } = pollRequest;
    if (backlog.firstSeq > backlog.lastSeq && backlog.closing === undefined) return;
    this.noteLastRequest(connection);
    this.lastRequestTurn = connection.server.counters.turns;
    if (stream !== undefined) {
      scheduleFlush(connection);
    } else {
      this.pollRequest = undefined;
      this.noteCarried(answerPoll(connection, fields, backlog, connection.server.isDraining));
    }
    this.dropIfDraining();
  }

  /** While the server drains, a client cannot poll again: this answer carries all messages, so the session has ended. */
  private dropIfDraining(): void {
    const { backlog, connection } = this;
    if (backlog.closing !== undefined && connection.server.isDraining) dropConnection(connection);
  }

  /** The peer of a request has ended its direction, or is gone. */
  requestEnded(request: Connection, isGone: boolean): void {
    if (isGone && this.pendingPost?.connection === request) this.pendingPost = undefined;
    if (isGone && this.lastRequest === request) this.lastRequest = undefined;
    if (this.pollRequest?.connection !== request) return;
    // A client that has ended its direction may still await the answer to a poll; an event stream is ended.
    if (isGone) this.pollRequest = undefined;
    else if (this.pollRequest.stream !== undefined) this.release();
  }

  /** Checks the deadlines of a request that is not answered yet. */
  checkRequest(request: Connection): void {
    const { pollRequest, pendingPost } = this;
    const { now, configuration } = request.server;
    const isDue = (since: number, time: number) => time > 0 && now - since >= time;
    // A stream that has to end still waits for its client to read the rest.
    const isUnread = request.producer instanceof EventStream && isStreamUnread(request);
    // A request waits as long as a WebSocket waits before a ping.
    if (pendingPost?.connection === request && isDue(pendingPost.since, configuration.pingInterval)) {
      this.pendingPost = undefined;
      pendingPost.reject();
    } else if (pollRequest?.connection === request) {
      const { stream, since } = pollRequest;
      if (isDue(since, stream === undefined ? configuration.pingInterval : eventStreamLifetime))
        this.release();
      else if (stream !== undefined && !isUnread && isDue(stream.wroteAt, configuration.pingInterval))
        stream.sendHeartbeat(request);
    }
  }

  /** Whether the server drains and no request is waiting that could carry the close frame. */
  cannotBeNotified(): boolean {
    return this.pollRequest?.connection.phase !== 'open' && this.connection.server.isDraining;
  }

  /** Whether the client's messages are paused: earlier ones are not processed, or too much output is unacknowledged. */
  isReadPaused(): boolean {
    return !this.connection.isReading;
  }

  /** Delivers messages of the client in the next turn. Must not be called while reading is paused. */
  receive(posted: Posted): void {
    this.acceptedSeq += posted.length;
    if (posted.length > 0)
      injectInput(this.connection, posted.length === 1 ? posted[0]! : Buffer.concat(posted));
  }

  pause(): void {}

  resume(): void {
    const { pendingPost } = this;
    this.pendingPost = undefined;
    pendingPost?.retry();
  }

  /** TCP keep-alive and FIN belong to the requests' own sockets. */
  keepAlive(): void {}
  shutdown(): void {}

  /** @returns whether the client has acknowledged messages since the last call, or is still reading an answer */
  updateProgress(): boolean {
    const { removed } = this.backlog;
    const hasAcknowledged = removed > this.removedBefore;
    this.removedBefore = removed;
    return hasAcknowledged || this.isAnswerUnread();
  }

  /** Bytes of memory besides the frames, which the arena counts. */
  held(): number {
    return overheadOf(this.backlog);
  }

  /** The session's part of the memory of its frames, which other sessions may share. */
  share(): number {
    return recentShareOf(this.backlog);
  }

  /** Frees all unacknowledged messages. */
  discard(): void {
    clearBacklog(this.backlog);
    if (this.isAnswerUnread()) dropConnection(this.lastRequest!);
  }

  destroy(): void {
    this.onDestroy();
    releaseInFlight(this.connection.queue);
    // Answer waiting requests, however the session ended.
    this.backlog.closing ??= showClosing(CloseCode.AbnormalClosure, '');
    this.deliver();
    this.resume();
    clearBacklog(this.backlog);
  }
}

/** Which request of its connection this is. */
function requestNumber(connection: Connection): number {
  return httpState(connection)?.count ?? 0;
}

/** The wire of polling clients: WebSocket semantics over a `PolledSocket`. The name shows how the client fetches messages. */
function newPolledWire(name: string): Wire {
  return {
    name,
    receive: readSocketData,
    close,
    onEnd,
    checkDeadlines,
  };
}

/** For clients that poll. */
export const pollWire = newPolledWire('poll');
/** For clients that read an event stream. */
export const sseWire = newPolledWire('sse');

/** Queues a close frame. The client does not answer it, so the handler's session ends at once. */
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
  if (socket.requests > 0 || socket.isAnswerUnread()) socket.seenAt = now;
  if (pollTimeout > 0 && now - socket.seenAt >= pollTimeout) {
    noteDeadline(connection, 'no request', 'pollTimeout');
    onEnd(connection, `no request for ${pollTimeout / 1000} s`);
    dropConnection(connection);
  } else if (endpoint?.state === 'CLOSING') {
    // The client may still collect its messages while it makes progress.
    if (socket.updateProgress()) connection.endingAt = now;
    else if (closeTimeout > 0 && now - connection.endingAt >= closeTimeout) dropConnection(connection);
  } else if (isLevelOverdue(connection, handshakeTimeout)) {
    noteDeadline(connection, 'no magic string and nick', 'handshakeTimeout');
    close(
      connection,
      CloseCode.PolicyViolation,
      `no magic string and nick within ${handshakeTimeout / 1000} s`,
    );
  }
}
