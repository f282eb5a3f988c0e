/**
 * The socket of a client over HTTP, which is made of requests: messages wait here, numbered, until a request carries them to
 * the client (a poll, or a stream of events), and stay until the client acknowledges them, so a lost answer loses none. The
 * client's own messages arrive with other requests.
 *
 * To the rest of the server it is like any other: it is busy when as much is unacknowledged as a system's buffer holds.
 */
import type { Chunk } from '../../core/arena.ts';
import type { Connection } from '../../core/connection.ts';
import { injectInput } from '../../core/fairness.ts';
import { dropConnection, scheduleFlush } from '../../core/outbox.ts';
import { type Range, releaseInFlight } from '../../core/queue.ts';
import type { Socket } from '../../core/socket.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import { longestStream, pollWindow } from '../../protocol/limits.ts';
import { type Posted, showClosing } from '../../protocol/polling.ts';
import type { Fields } from '../route.ts';
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
import { answerEmpty, answerPoll, EventStream } from './carrier.ts';

/** A request that waits for messages to carry to the client. */
export interface Carrier {
  readonly connection: Connection;
  /** Header fields that its answer has, beside others. */
  readonly fields: Fields;
  /** When it began to wait. */
  readonly since: number;
  /** Goes on with one message after the other, as events; without it the first messages are the answer. */
  stream: EventStream | undefined;
}

/** A request that brings messages, and has to wait until those before it are worked through. */
interface Delivery {
  readonly connection: Connection;
  readonly since: number;
  readonly take: () => void;
  /** It has waited for too long. */
  readonly giveUp: () => void;
}

export class PolledSocket implements Socket {
  readonly isVirtual = true;
  isBusy = false;
  /** Set by `start`. */
  connection!: Connection;
  carrier: Carrier | undefined;
  delivery: Delivery | undefined;
  /** Requests of its client that are not over: one may be on its way in, another one's answer on its way out. */
  requests = 0;
  /** When there was a request last. */
  seenAt: number;
  /** The client's messages up to this number were taken. */
  takenSeq = 0;
  /** Messages that are not acknowledged. */
  private readonly backlog: Backlog = newBacklog();
  /** The last number that was given to a request. */
  private carriedSeq = 0;
  /** The request that messages were given to last, and the turn in which that was. */
  private bearer: Connection | undefined;
  private bearerTurn = 0;
  private lastStream: EventStream | undefined;
  /** Of the backlog, when the session was closed: see `isTaking`. */
  private takenBefore = 0;
  private readonly peer: string;
  private readonly forget: () => void;

  /**
   * @param peer the client's address
   * @param now as in `server.now`
   * @param forget is called when it is over
   */
  constructor(peer: string, now: number, forget: () => void) {
    this.peer = peer;
    this.seenAt = now;
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
    const { backlog, connection } = this;
    addFrames(backlog, chunk, start, end, connection.server.counters.turns);
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
    this.carrier = { connection: request, fields, since: request.server.now, stream };
    if (this.isAnswerUnread()) {
      // Many requests at once are not all given everything.
      if (this.bearerTurn === request.server.counters.turns) return this.release();
      dropConnection(this.bearer!);
    }
    if (stream !== undefined) {
      this.noteCarried(this.lastStream?.carriedSeq ?? 0);
      this.lastStream = stream;
      this.bearer = request;
    }
    this.carry();
  }

  /** Whether the answer to the last request is still unread in part: the client does not read, or asks faster than it reads. */
  private isAnswerUnread(): boolean {
    const { bearer } = this;
    if (bearer === undefined || bearer.phase === 'gone') return false;
    if (bearer.queue.size > 0) return true;
    return bearer.producer instanceof EventStream ? bearer.producer.isBehind : bearer.producer !== undefined;
  }

  /** Answers the request that waits, even if there is nothing to tell. */
  release(): void {
    const { carrier } = this;
    this.carrier = undefined;
    if (carrier === undefined) return;
    const { connection, fields, stream } = carrier;
    if (connection.phase !== 'open') return;
    if (stream !== undefined) stream.end(connection);
    else answerEmpty(connection, fields, this.backlog);
  }

  /** Gives what is there to the request that waits, if one does. */
  private carry(): void {
    const { carrier, backlog } = this;
    if (carrier === undefined || carrier.connection.phase !== 'open') return;
    const { connection, fields, stream } = carrier;
    if (backlog.firstSeq > backlog.lastSeq && backlog.closing === undefined) return;
    this.bearer = connection;
    this.bearerTurn = connection.server.counters.turns;
    if (stream !== undefined) {
      scheduleFlush(connection);
    } else {
      this.carrier = undefined;
      this.noteCarried(answerPoll(connection, fields, backlog, connection.server.isDraining));
    }
    // A client cannot poll again while the server drains: this answer carries all the rest.
    if (backlog.closing !== undefined && connection.server.isDraining) dropConnection(this.connection);
  }

  /** The peer of one of its requests has ended its direction, or is gone. */
  requestLost(request: Connection, isGone: boolean): void {
    if (isGone && this.delivery?.connection === request) this.delivery = undefined;
    if (isGone && this.bearer === request) this.bearer = undefined;
    if (this.carrier?.connection !== request) return;
    // A client that ended its direction may still wait for the answer to a poll. A stream that is not read has no use.
    if (isGone) this.carrier = undefined;
    else if (this.carrier.stream !== undefined) this.release();
  }

  /** One of its requests is not answered yet: looks whether it is time. */
  checkRequest(request: Connection): void {
    const { carrier, delivery } = this;
    const { now, configuration } = request.server;
    const isDue = (since: number, time: number) => time > 0 && now - since >= time;
    if (delivery?.connection === request && isDue(delivery.since, configuration.pingInterval)) {
      this.delivery = undefined;
      delivery.giveUp();
    } else if (carrier?.connection === request) {
      const { stream, since } = carrier;
      if (isDue(since, stream === undefined ? configuration.pingInterval : longestStream)) this.release();
      else if (stream !== undefined && isDue(stream.wroteAt, configuration.pingInterval))
        stream.beat(request);
    }
  }

  /** The server is going away, and there is no request by which the client could be told. */
  isOutOfReach(): boolean {
    return this.carrier?.connection.phase !== 'open' && this.connection.server.isDraining;
  }

  /** Whether messages of the client are still to be worked through, or it has to take something first. */
  isOccupied(): boolean {
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
    const { delivery } = this;
    this.delivery = undefined;
    delivery?.take();
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
    if (this.isAnswerUnread()) dropConnection(this.bearer!);
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
