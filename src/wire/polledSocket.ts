/**
 * The socket of a client that comes by HTTP, which is made of requests: what is sent waits here, numbered, until a request
 * carries it to the client (a poll, or a stream of events), and stays until the client says that it has it. So nothing is
 * lost with an answer that is. What the client sends comes with requests of its own.
 *
 * To the rest of the server it is like any other: it is busy when as much is unacknowledged as a system's buffer holds.
 */
import type { Connection } from '../connection/connection.ts';
import { dropConnection, endConnection, markDirty } from '../connection/outbox.ts';
import { landInFlight, type Range } from '../connection/queue.ts';
import { readLater } from '../connection/share.ts';
import type { Socket } from '../connection/socket.ts';
import { heldBackOutput, longestStream, pollWindow } from '../protocol/bounds.ts';
import { CloseCode, ProtocolError } from '../protocol/codes.ts';
import { type Numbered, type Posted, readSent, showClosing } from '../protocol/polling.ts';
import { answerPoll, beat, beginStream, type Carrier, contentOf, sendEvents, sizeOf } from './carrier.ts';

/** A request that brings messages, and has to wait until those before it are worked through. */
interface Delivery {
  readonly connection: Connection;
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
  /** When there was a request last. */
  seenAt: number;
  /** The client's messages up to this number were taken. */
  takenSeq = 0;
  /** Messages that are not acknowledged, oldest first, and how large they are. */
  private messages: Numbered[] = [];
  private size = 0;
  /** The last number that was given to a message, and the last that was given to a request. */
  private lastSeq = 0;
  private carriedSeq = 0;
  /** The request that messages were given to last, and the turn in which that was. */
  private bearer: Connection | undefined;
  private bearerTurn = 0;
  /** The last thing that is said. */
  private closing: string | undefined;
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
    return this.size;
  }

  writeOne(bytes: Buffer, start: number, end: number): number {
    this.keep(bytes, start, end);
    this.carry();
    return 0;
  }

  write(ranges: readonly Range[]): number {
    for (const { chunk, start, end } of ranges) this.keep(chunk.bytes, start, end);
    this.carry();
    return 0;
  }

  private keep(bytes: Buffer, start: number, end: number): void {
    const { turns } = this.connection.server.counters;
    const said = (isText: boolean, from: number, to: number) => {
      const content = contentOf(turns, isText, bytes, from, to);
      const message = { seq: ++this.lastSeq, content };
      this.messages.push(message);
      this.size += sizeOf(message);
    };
    readSent(bytes, start, end, said, closing => {
      this.closing = closing;
    });
    this.isBusy = this.size >= pollWindow;
  }

  /**
   * The client has all messages up to `seq`.
   * @throws ProtocolError 400 where it cannot have them
   */
  acknowledge(seq: number): void {
    if (seq > this.carriedSeq) throw new ProtocolError(400, `no message ${seq} was sent yet`);
    const first = this.messages[0]?.seq ?? 0;
    if (first === 0 || seq < first) return;
    for (const message of this.messages.splice(0, seq - first + 1)) this.size -= sizeOf(message);
    if (!this.isBusy || this.size >= pollWindow) return;
    this.isBusy = false;
    landInFlight(this.connection.queue);
    markDirty(this.connection);
  }

  /** A request waits for messages from now on; the one that did before is answered. The newest knows best what is missing. */
  attach(carrier: Carrier): void {
    this.release();
    this.carrier = carrier;
    if (carrier.isStream) beginStream(carrier);
    if (this.isAnswerUnread()) {
      // Whoever asks many times at once is not given everything as many times; nor is it kept for who does not read.
      if (this.bearerTurn === this.connection.server.counters.turns) return this.release();
      dropConnection(this.bearer!);
    }
    if (carrier.isStream) this.carriedSeq = this.lastSeq - this.messages.length;
    this.carry();
  }

  /** What a request was given waits in our memory: its client does not read, or not so fast. */
  private isAnswerUnread(): boolean {
    return this.bearer !== undefined && this.bearer.phase !== 'gone' && this.bearer.queue.size > 0;
  }

  /** Messages go to this request. */
  private giveTo(request: Connection): void {
    this.carriedSeq = this.lastSeq;
    this.bearer = request;
    this.bearerTurn = request.server.counters.turns;
  }

  /** Answers the request that waits, even if there is nothing to tell. */
  release(): void {
    const { carrier } = this;
    this.carrier = undefined;
    if (carrier === undefined) return;
    if (carrier.isStream) endConnection(carrier.connection);
    else answerPoll(carrier, [], undefined);
  }

  /** Gives what is there to the request that waits, if one does. */
  private carry(): void {
    const { carrier, messages, closing } = this;
    if (carrier === undefined || carrier.connection.phase !== 'open') return;
    if (carrier.isStream) {
      this.stream(carrier);
    } else if (messages.length > 0 || closing !== undefined) {
      this.giveTo(carrier.connection);
      this.carrier = undefined;
      answerPoll(carrier, messages, closing);
      this.told();
    }
  }

  private stream(carrier: Carrier): void {
    const { messages, closing } = this;
    sendEvents(carrier, messages.slice(messages.length - (this.lastSeq - this.carriedSeq)), closing);
    this.giveTo(carrier.connection);
    // A stream carries nothing back: by coming again its client says how far it came.
    const isFull = this.isBusy || carrier.connection.queue.size > heldBackOutput;
    if (closing !== undefined || isFull) this.release();
    this.told();
  }

  /** Nobody can come again to a server that is going away: who was told that it is, is done with. */
  private told(): void {
    if (this.closing !== undefined && this.connection.server.isDraining) dropConnection(this.connection);
  }

  /** The peer of one of its requests has ended its direction, or is gone. */
  requestLost(request: Connection, isGone: boolean): void {
    if (isGone && this.delivery?.connection === request) this.delivery = undefined;
    if (this.carrier?.connection !== request) return;
    // Who has asked and says no more may still wait for the answer. A stream that is read no more has no use.
    if (isGone) this.carrier = undefined;
    else if (this.carrier.isStream) this.release();
  }

  /** One of its requests is not answered yet: looks whether it is time. */
  checkRequest(request: Connection): void {
    const { carrier, delivery } = this;
    const { now, configuration } = request.server;
    const isDue = (since: number, time: number) => time > 0 && now - since >= time;
    const hasWaited = isDue(request.acceptedAt, configuration.pingInterval);
    if (delivery?.connection === request && hasWaited) {
      this.delivery = undefined;
      delivery.giveUp();
    } else if (carrier?.connection === request) {
      if (carrier.isStream ? isDue(request.acceptedAt, longestStream) : hasWaited) this.release();
      else if (carrier.isStream && isDue(carrier.wroteAt, configuration.pingInterval)) beat(carrier);
    }
  }

  /** The server is going away, and there is no request by which the client could be told. */
  isOutOfReach(): boolean {
    return this.carrier === undefined && this.connection.server.isDraining;
  }

  /** Whether messages of the client are still to be worked through, or it has to take something first. */
  isOccupied(): boolean {
    return !this.connection.isReading;
  }

  /** Takes messages of the client, in the next turn. Not while it is occupied. */
  give(posted: Posted): void {
    this.takenSeq += posted.length;
    if (posted.length > 0)
      readLater(this.connection, posted.length === 1 ? posted[0]! : Buffer.concat(posted));
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

  destroy(): void {
    this.forget();
    landInFlight(this.connection.queue);
    // Whatever became of it, its client is not left waiting.
    this.closing ??= showClosing(CloseCode.AbnormalClosure, '');
    this.carry();
    this.resume();
  }
}
