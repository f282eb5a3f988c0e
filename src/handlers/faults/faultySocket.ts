/**
 * The faulty socket replaces a connection's socket: it passes the server's output through the faults and writes the result to the
 * inner socket. Output that faults hold back is copied and counts as memory of the connection. Beyond `maxFaultHeld` the socket
 * is busy, and the server's backpressure begins.
 */
import { getSystemErrorName } from 'node:util';
import { dropConnection, endConnection, runIsolated } from '../../core/close.ts';
import { completeWrite } from '../../core/flush.ts';
import { updateHeld } from '../../core/memory.ts';
import { onEnd } from '../../core/poll.ts';
import { scheduleFlush } from '../../core/send.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { tapFault, tapWrote } from '../../diagnostics/tap.ts';
import { Opcode, ProtocolError } from '../../protocol/codes.ts';
import { maxFaultHeld, maxFaults, resetDelay } from '../../protocol/faultLimits.ts';
import { frameEnd } from '../../protocol/websocket/frame.ts';
import type { Range } from '../../records/arena.ts';
import type { Connection, Socket } from '../../records/records.ts';
import type { ActiveFault, FaultContext, FaultPlan, FaultSetting, Piece } from './fault.ts';
import { isControlFrame, isDataFrame, isLastOfMessage, opcodeOf } from './pieces.ts';
import { newRandom, type Random } from './random.ts';
import { runInShare } from './shareOfLoop.ts';

/** A fault in the chain. */
interface Link {
  readonly setting: FaultSetting;
  readonly fault: ActiveFault;
  /** Decides whether the fault acts (`chance`). The fault itself has another generator. */
  readonly chanceRandom: Random;
  /** How many times the fault has acted. */
  acted: number;
}

/** The format of the next output: the handshake's response, frames, or anything else. */
type Format = 'response' | 'frames' | 'bytes';

export class FaultySocket implements Socket {
  readonly altersOutput = true;
  isBusy: boolean;
  /** The connection's own socket. */
  readonly inner: Socket;
  private readonly connection: Connection;
  private format: Format = 'bytes';
  private chain: readonly Link[] = [];
  /** Faults that were turned off, for `why`. */
  private formerFaults: string[] = [];
  private seed = 0;
  /** Messages that the server has sent since the faults were set. */
  private message = 0;
  /** Pieces that have passed all faults and wait for the inner socket. */
  private waiting: Piece[] = [];
  private waitingSize = 0;
  /** Bytes written to the inner socket, since the connection began. */
  private bytesPassed: number;
  private readonly timers = new Set<NodeJS.Timeout>();
  /** The output has ended: later output is discarded. */
  private isOver = false;
  private isReset = false;
  /** How deeply calls of `run` are nested: the outermost one writes. */
  private depth = 0;

  constructor(connection: Connection) {
    this.connection = connection;
    this.inner = connection.socket;
    this.isBusy = this.inner.isBusy;
    this.bytesPassed = connection.bytesOut;
  }

  /**
   * Replaces the faults. The former ones emit all pieces that they hold.
   * @param isHandshake whether the next output is the response to the handshake
   */
  setFaults({ settings, seed }: FaultPlan, isHandshake: boolean): void {
    this.enter(() => {
      this.clearTimers();
      for (const link of this.chain) link.fault.stop?.();
      this.retireFaults();
      this.seed = seed ?? Math.floor(Math.random() * 2 ** 32);
      this.message = 0;
      if (isHandshake) this.format = 'response';
      // A command may change the faults while the handshake still waits for a decision.
      else if (this.format !== 'response')
        this.format = this.connection.endpoint === undefined ? 'bytes' : 'frames';
      const chain: Link[] = [];
      for (const [at, setting] of settings.entries()) {
        const fault = setting.kind.make(setting.values, this.contextOf(chain, at, setting));
        chain.push({ setting, fault, chanceRandom: newRandom(this.seed, at, 1), acted: 0 });
      }
      this.chain = chain;
      if (this.format !== 'response') this.actBetween();
    });
  }

  private contextOf(chain: readonly Link[], at: number, { words }: FaultSetting): FaultContext {
    const emit = (piece: Piece) => this.pass(chain, at + 1, piece);
    return {
      connection: this.connection,
      words,
      random: newRandom(this.seed, at, 0),
      emit,
      send: (kind, bytes) => emit({ kind, bytes, message: this.message }),
      end: end => emit({ kind: 'end', bytes: nothing, message: this.message, end, fault: words }),
      later: (milliseconds, act) => this.startTimer(milliseconds, act),
      isWritable: () => !this.isOver && !this.inner.isBusy && this.heldByFaults() < maxFaultHeld,
    };
  }

  private startTimer(milliseconds: number, act: () => void): void {
    const run = () => {
      // A change of the faults may have cleared the timer while it waited for its share of the loop.
      if (this.timers.delete(timer)) this.enter(act);
    };
    const timer = setTimeout(() => runInShare(run), milliseconds).unref();
    this.timers.add(timer);
  }

  /** The faults of this connection in order, former ones first, and how often each has acted. */
  faults(): string[] {
    const current = this.chain.map(({ setting, acted }) => {
      const times = acted === 0 ? 'has not acted' : acted === 1 ? 'acted once' : `acted ${acted} times`;
      return `${setting.words} seed=${this.seed}: ${times}`;
    });
    return [...this.formerFaults, ...current].slice(-maxFaults);
  }

  // Output

  writeOne(bytes: Buffer, start: number, end: number): number {
    if (this.isTransparent()) {
      this.notePassed(bytes, start, end, false);
      return this.afterWrite(this.inner.writeOne(bytes, start, end));
    }
    return this.take(Buffer.from(bytes.subarray(start, end)));
  }

  write(ranges: readonly Range[]): number {
    if (this.isTransparent()) {
      for (const { chunk, start, end } of ranges) this.notePassed(chunk.bytes, start, end, false);
      return this.afterWrite(this.inner.write(ranges));
    }
    return this.take(Buffer.concat(ranges.map(({ chunk, start, end }) => chunk.bytes.subarray(start, end))));
  }

  /** Whether all faults are off, so that output passes without a copy. */
  private isTransparent(): boolean {
    return this.chain.length === 0 && this.waiting.length === 0 && !this.isOver && this.format !== 'response';
  }

  private take(bytes: Buffer): number {
    return this.afterWrite(this.run(() => this.cut(bytes)));
  }

  private afterWrite(error: number): number {
    this.isBusy = this.isFull();
    return error;
  }

  /** Cuts output into pieces. The server writes whole responses and whole frames, but a script may send any bytes. */
  private cut(bytes: Buffer): void {
    let at = 0;
    if (this.format === 'response') {
      const end = bytes.indexOf('\r\n\r\n') + 4;
      // Faults do not act on a refused handshake.
      const isAccepted = end >= 4 && bytes.toString('latin1', 0, acceptedStatus.length) === acceptedStatus;
      this.format = isAccepted ? 'frames' : 'bytes';
      if (isAccepted) {
        at = end;
        this.pass(this.chain, 0, { kind: 'response', bytes: bytes.subarray(0, end), message: 0 });
        this.actBetween();
      } else {
        this.chain = [];
      }
    }
    while (at < bytes.length) {
      const end = this.format === 'frames' ? wholeFrameEnd(bytes, at) : undefined;
      this.passOutput(bytes.subarray(at, end), end !== undefined);
      at = end ?? bytes.length;
    }
  }

  private passOutput(bytes: Buffer, isFrame: boolean): void {
    const piece: Piece = { kind: isFrame ? 'frame' : 'bytes', bytes, message: this.message };
    const isMessage = !isFrame || isLastOfMessage(piece);
    if (isMessage) this.message++;
    this.pass(this.chain, 0, { ...piece, message: this.message });
    if (isMessage) this.actBetween();
  }

  /** After a message, or at the start: lets faults send their own frames. */
  private actBetween(): void {
    for (const link of this.chain)
      if (link.fault.act !== undefined && this.message >= link.setting.after && this.decide(link))
        link.fault.act();
  }

  /** Passes the piece to the fault at `index`. */
  private pass(chain: readonly Link[], index: number, piece: Piece): void {
    const link = chain[index];
    if (link === undefined) {
      this.enqueue(piece);
    } else if (isTarget(link.setting, piece) && this.decide(link)) {
      if (link.fault.take === undefined) this.pass(chain, index + 1, piece);
      else link.fault.take(piece);
    } else if (link.fault.pass === undefined) {
      this.pass(chain, index + 1, piece);
    } else {
      link.fault.pass(piece);
    }
  }

  /** Whether a fault that could act does so now. Counts the times it acts. */
  private decide(link: Link): boolean {
    const { chance, times, words } = link.setting;
    if (link.fault.isDone || link.acted >= times || (chance < 1 && link.chanceRandom.next() >= chance))
      return false;
    link.acted++;
    if (this.connection.server.taps.isOn) tapFault(this.connection, words);
    return true;
  }

  private enqueue(piece: Piece): void {
    if (this.isOver) return;
    this.waiting.push(piece);
    this.waitingSize += piece.bytes.length;
  }

  /** Runs work that emits pieces, then writes them. @returns a negative system error number if the connection is lost */
  private run(work: () => void): number {
    this.depth++;
    // An error must not interrupt the server's writes to other connections.
    runIsolated(this.connection, work);
    this.depth--;
    return this.depth === 0 ? this.pump() : 0;
  }

  /** Like `run`, for callers other than the server's writes. */
  private enter(work: () => void): void {
    const error = this.run(work);
    if (this.depth > 0) return;
    const { connection } = this;
    if (error < 0) onEnd(connection, getSystemErrorName(error));
    const wasBusy = this.isBusy;
    this.isBusy = this.isFull();
    if (wasBusy && !this.isBusy) completeWrite(connection, undefined);
    else if (connection.phase === 'ending' && this.heldByFaults() === 0) scheduleFlush(connection);
    updateHeld(connection);
  }

  private notePassed(bytes: Uint8Array, start: number, end: number, isFaulty: boolean): void {
    this.bytesPassed += end - start;
    if (this.connection.server.taps.isOn) tapWrote(this.connection, bytes, start, end, isFaulty);
  }

  /** Writes the waiting pieces, in as few writes as possible. */
  private pump(): number {
    const { inner } = this;
    while (this.waiting.length > 0 && !inner.isBusy && !this.isOver) {
      const isEnd = (piece: Piece) => piece.kind === 'end';
      const end = this.waiting.findIndex(isEnd);
      if (end === 0) {
        this.finish(this.waiting.shift()!);
        continue;
      }
      const pieces = this.waiting.splice(0, end < 0 ? this.waiting.length : end);
      const bytes = pieces.length === 1 ? pieces[0]!.bytes : Buffer.concat(pieces.map(piece => piece.bytes));
      this.waitingSize -= bytes.length;
      if (bytes.length === 0) continue;
      this.notePassed(bytes, 0, bytes.length, true);
      const error = inner.writeOne(bytes, 0, bytes.length);
      if (error < 0) {
        this.forgetOutput();
        return error;
      }
    }
    return 0;
  }

  private finish({ end, fault }: Piece): void {
    const { connection, inner } = this;
    this.forgetOutput();
    if (end !== 'shutdown' && end !== 'half-close')
      noteEnding(connection, 'server', `the fault ${fault} ended it`, { cause: 'fault' });
    if (end === 'reset') {
      this.isReset = true;
      this.startTimer(resetDelay, () => dropConnection(connection));
    } else if (end === 'drop') {
      dropConnection(connection);
    } else {
      inner.shutdown();
      if (end === 'fin') endConnection(connection);
    }
  }

  private retireFaults(): void {
    this.formerFaults = this.faults();
    this.chain = [];
    this.clearTimers();
  }

  /** Ends the output: discards the held pieces and all later ones. */
  private forgetOutput(): void {
    this.isOver = true;
    this.discardHeld();
  }

  private discardHeld(): void {
    this.retireFaults();
    this.waiting = [];
    this.waitingSize = 0;
  }

  private clearTimers(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  private heldByFaults(): number {
    let held = this.waitingSize;
    for (const { fault } of this.chain) held += fault.held?.() ?? 0;
    return held;
  }

  private isFull(): boolean {
    return this.inner.isBusy || this.heldByFaults() > maxFaultHeld;
  }

  // The rest of the contract of sockets

  onInnerWriteComplete(error: string | undefined): void {
    if (error !== undefined || this.connection.phase === 'gone') {
      this.isBusy = false;
      completeWrite(this.connection, error);
      return;
    }
    this.connection.heardAt = this.connection.server.now;
    this.enter(() => {});
  }

  shutdown(): void {
    this.enter(() =>
      this.pass(this.chain, 0, { kind: 'end', bytes: nothing, message: this.message, end: 'shutdown' }),
    );
  }

  destroy(): void {
    this.forgetOutput();
    if (this.isReset && this.inner.reset !== undefined) this.inner.reset();
    else this.inner.destroy();
  }

  discard(): void {
    this.discardHeld();
    this.inner.discard?.();
  }

  /** Counts the server's own bytes only: bytes that faults add or drop say nothing about the peer's progress. */
  unsent(): number {
    const { connection, inner, bytesPassed } = this;
    return Math.max(0, connection.bytesOut - (bytesPassed - inner.unsent()));
  }

  held(): number {
    return (this.inner.held?.() ?? 0) + this.heldByFaults();
  }

  get memory(): number | undefined {
    return this.inner.memory;
  }

  share(): number {
    return this.inner.share?.() ?? 0;
  }

  start(connection: Connection): void {
    this.inner.start(connection);
  }

  pause(): void {
    this.inner.pause();
  }

  resume(): void {
    this.inner.resume();
  }

  keepAlive(after: number): void {
    this.inner.keepAlive(after);
  }

  address(): string {
    return this.inner.address();
  }
}

const nothing = Buffer.alloc(0);
const acceptedStatus = 'HTTP/1.1 101';

/** The end of the frame at `bytes[at]`; undefined unless the frame is whole and well-formed. */
function wholeFrameEnd(bytes: Buffer, at: number): number | undefined {
  // For an incomplete header, `frameEnd` returns NaN.
  try {
    const end = frameEnd(bytes, at);
    return end <= bytes.length ? end : undefined;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** Whether the fault may act on the piece. No fault acts on the end of the output. */
function isTarget({ kind: { takes }, after }: FaultSetting, piece: Piece): boolean {
  const { kind, message } = piece;
  if (takes === 'none' || kind === 'end') return false;
  if (takes === 'response' || kind === 'response')
    return kind === 'response' && (takes === 'response' || (takes === 'everything' && after === 0));
  const isDue = isControlFrame(piece) ? message >= after : message > after;
  if (!isDue || takes === 'everything') return isDue;
  if (takes === 'messages') return isDataFrame(piece);
  return opcodeOf(piece) === (takes === 'pongs' ? Opcode.Pong : Opcode.Close);
}
