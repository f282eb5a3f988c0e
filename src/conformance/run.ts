/**
 * A running case, from the tester's end. This layer is pure: its inputs are the peer's bytes, timeouts and the end of the stream;
 * its outputs are bytes to write, a time to wait, and finally the result. The driver owns the socket and the timer:
 *
 *     beginCase → drain → (receiveBytes | timePassed → drain)… → endCase
 *
 * `drain`: write each element of `takeOutput(run)` separately; then end TCP if `run.isDropping`; call `timePassed`
 * `run.wait` milliseconds after the call that set `run.isWaitNew`.
 */
import { Buffer } from 'node:buffer';
import { CloseCode, Opcode, type Role } from '../protocol/codes.ts';
import { newContextOf } from '../protocol/websocket/deflate.ts';
import {
  control,
  type Endpoint,
  endEndpoint,
  failEndpoint,
  frame,
  message,
  newEndpoint,
  nextEvent,
  ProtocolEvent,
  releaseMessage,
  startClosing,
} from '../protocol/websocket/endpoint.ts';
import type { DeflateParameters } from '../protocol/websocket/extensions.ts';
import type { ConformanceCase, Happening, RoundTripsStep, Step } from './case.ts';
import {
  chopped,
  closeFrameOf,
  dataOf,
  type FrameWriter,
  frameOf,
  framesOf,
  headOf,
  newFrameWriter,
  pongFrameOf,
} from './frameWriter.ts';
import { canStillMatch, matches } from './happenings.ts';
import { type CaseEvidence, type CaseResult, judge } from './verdict.ts';

/**
 * The largest messages that a tester reads. The largest echo has 16 MiB, or 128 KiB with compression. A larger message is always
 * wrong, and inflating it would delay other cases.
 */
const maxMessage = 17 * 1024 * 1024;
const maxCompressedMessage = 1024 * 1024;

/** Milliseconds to wait for the peer's close frame. */
const closeTime = 1000;

/** Milliseconds to wait for a server to end TCP (RFC 6455 §7.1.1). `patience` does not extend them. */
const tcpEndTime = 2000;

export interface CaseRun extends CaseEvidence {
  readonly endpoint: Endpoint;
  readonly writer: FrameWriter;
  /** The shortest deadline in milliseconds, for busy machines. The waits in the steps are exact. */
  readonly patience: number;
  /** Complete writes, in order; the driver gets them from `takeOutput`. */
  output: Buffer[];
  /** The frames of the next write: they arrive together. */
  joined: Buffer[];
  /** For the driver: end TCP when the output is written. */
  isDropping: boolean;
  /** For the driver: milliseconds until `timePassed` is due; undefined for never. */
  wait: number | undefined;
  /** For the driver: a new wait replaces the previous one. The driver sets this to false. */
  isWaitNew: boolean;
  /** The index of the next step. */
  next: number;
  /** The `wait` step in progress. */
  waiting: { readonly label: string | undefined } | undefined;
  roundTrips: { readonly step: RoundTripsStep; done: number } | undefined;
  readonly happenings: Happening[];
  /** The happenings match no outcome any more. Later ones are not kept: a peer could fill the memory with them. */
  isMismatch: boolean;
  /** The start of an incomplete frame. */
  rest: Buffer;
}

/**
 * Begins after the opening handshake.
 * @param deflate the negotiated compression
 */
export function beginCase(
  test: ConformanceCase,
  role: Role,
  deflate: DeflateParameters | undefined,
  patience = 0,
): CaseRun {
  const plan = test.plan();
  const peer = role === 'server' ? 'client' : 'server';
  const deflater = newContextOf(deflate, role);
  const run: CaseRun = {
    ...{ test, plan, role, patience, isCompressed: deflate !== undefined },
    endpoint: {
      ...newEndpoint(
        role,
        deflate ? maxCompressedMessage : maxMessage,
        newContextOf(deflate, peer),
        deflater,
      ),
      deliversWhileClosing: true,
    },
    writer: newFrameWriter(role, deflater),
    ...{
      output: [],
      joined: [],
      isDropping: false,
      wait: undefined,
      isWaitNew: false,
      next: 0,
      waiting: undefined,
    },
    ...{
      roundTrips: undefined,
      happenings: [],
      isMismatch: false,
      rest: Buffer.alloc(0),
      violation: undefined,
    },
    ...{
      wrongEcho: undefined,
      echoes: 0,
      isClosedByTester: false,
      hasFailedPeer: false,
    },
    ...{ isDroppedByTester: false, isClean: false },
    ...{ localCode: undefined, remoteCode: undefined, remoteReason: undefined },
  };
  if (test.deflate !== undefined && deflate === undefined) startClose(run, CloseCode.NormalClosure);
  else takeSteps(run);
  return run;
}

/** Takes the steps up to the next wait. */
function takeSteps(run: CaseRun): void {
  const { plan, endpoint } = run;
  while (endpoint.state !== 'CLOSED') {
    const step = plan.steps[run.next];
    if (step === undefined) {
      // After the tester's close frame, the timer for the reply is already running.
      if (endpoint.state === 'OPEN') startWait(run, Math.max(plan.deadline.after, run.patience));
      return;
    }
    run.next++;
    if (step.do === 'wait') {
      run.waiting = { label: step.label };
      startWait(run, step.time);
      return;
    }
    if (step.do === 'round trips') {
      run.roundTrips = { step, done: 0 };
      startWait(run, Math.max(plan.deadline.after, run.patience));
      sendTrip(run, step, 0);
      return;
    }
    takeStep(run, step);
  }
}

function takeStep(run: CaseRun, step: Exclude<Step, { do: 'wait' | 'round trips' }>): void {
  const { writer } = run;
  switch (step.do) {
    case 'frame':
      if (step.chop === undefined) write(run, frameOf(writer, step));
      else writeApart(run, frameOf(writer, step));
      return;
    case 'head':
      if (step.chop === undefined) write(run, [headOf(writer, step)]);
      else writeApart(run, chopped(headOf(writer, step), step.chop));
      return;
    case 'data':
      writeApart(run, [dataOf(writer, step.payload)]);
      return;
    case 'message':
      write(run, framesOf(writer, step));
      return;
    case 'close':
      sendCloseFrame(run, step.payload);
      return;
  }
}

/** Joins the frames to the previous ones in one write, unless a wait or chops separate them. */
function write(run: CaseRun, frames: readonly Buffer[]): void {
  for (const frame of frames) run.joined.push(frame);
}

/** Completes the write that frames may join. */
function endWrite(run: CaseRun): void {
  if (run.joined.length === 0) return;
  run.output.push(Buffer.concat(run.joined));
  run.joined = [];
}

function writeApart(run: CaseRun, pieces: readonly Buffer[]): void {
  endWrite(run);
  for (const piece of pieces) run.output.push(piece);
}

function sendTrip(run: CaseRun, step: RoundTripsStep, index: number): void {
  write(run, framesOf(run.writer, step.message(index)));
}

function startWait(run: CaseRun, time: number | undefined): void {
  run.wait = time;
  run.isWaitNew = true;
}

/** Starts the closing handshake. Later steps still send their frames. */
function sendCloseFrame(run: CaseRun, payload: Buffer): void {
  write(run, [closeFrameOf(run.writer, payload)]);
  run.localCode = payload.length >= 2 ? payload.readUInt16BE(0) : undefined;
  run.isClosedByTester = true;
  startClosing(run.endpoint);
  startWait(run, Math.max(closeTime, run.patience));
}

function startClose(run: CaseRun, code: number): void {
  if (run.endpoint.state === 'OPEN') sendCloseFrame(run, Buffer.from([code >>> 8, code & 0xff]));
}

/** For the driver: the writes since the last call. The caller owns them. */
export function takeOutput(run: CaseRun): Buffer[] {
  endWrite(run);
  const { output } = run;
  run.output = [];
  return output;
}

/** Reads the peer's bytes. The run keeps them. */
export function receiveBytes(run: CaseRun, chunk: Buffer): void {
  const { endpoint } = run;
  if (endpoint.state === 'CLOSED') return;
  const bytes = run.rest.length === 0 ? chunk : Buffer.concat([run.rest, chunk]);
  const input = { bytes, start: 0, end: bytes.length };
  run.rest = Buffer.alloc(0);
  for (;;) {
    const event = nextEvent(endpoint, input);
    switch (event) {
      case ProtocolEvent.NeedMore:
      case ProtocolEvent.Paused:
        run.rest = bytes.subarray(input.start, input.end);
        return;

      case ProtocolEvent.Frame:
      case ProtocolEvent.Inflating:
        break;

      case ProtocolEvent.Message: {
        const payload = Buffer.from(message.bytes.subarray(message.start, message.end));
        const { isText } = message;
        releaseMessage();
        receiveMessage(run, isText, payload);
        break;
      }

      case ProtocolEvent.Ping:
        // RFC 6455 §5.5.2: a peer may ping at any time. Pings, and heartbeat pongs between round trips, are not happenings.
        if (control.isReplyDue) write(run, [pongFrameOf(run.writer, controlPayload())]);
        break;

      case ProtocolEvent.Pong:
        if (run.roundTrips === undefined) note(run, { is: 'pong', payload: controlPayload() });
        break;

      case ProtocolEvent.Close:
        receiveClose(run);
        return;

      case ProtocolEvent.Failed:
        receiveFault(run);
        return;
    }
  }
}

function controlPayload(): Buffer {
  return Buffer.from(control.bytes.subarray(control.start, control.end));
}

function receiveMessage(run: CaseRun, isText: boolean, payload: Buffer): void {
  const { endpoint, plan, roundTrips } = run;
  if (endpoint.state !== 'OPEN' && plan.close.deliversWhileClosing !== true) return;
  if (roundTrips === undefined) return note(run, { is: 'message', isText, payload });
  const { step } = roundTrips;
  const sent = step.message(roundTrips.done);
  if (sent.isText !== isText || !sent.payload.equals(payload)) {
    run.wrongEcho = `echo ${roundTrips.done + 1} of ${step.count} differs from its message`;
    startClose(run, CloseCode.NormalClosure);
    return;
  }
  roundTrips.done++;
  run.echoes++;
  if (roundTrips.done < step.count) return sendTrip(run, step, roundTrips.done);
  run.roundTrips = undefined;
  if (run.next === plan.steps.length) startClose(run, CloseCode.NormalClosure);
  else takeSteps(run);
}

/** Records a happening, and ends the case if it decides the verdict. */
function note(run: CaseRun, happening: Happening): void {
  if (run.isMismatch) return;
  const { plan, happenings, endpoint } = run;
  const { outcomes, close } = plan;
  happenings.push(happening);
  run.isMismatch = !outcomes.some(outcome => canStillMatch(happenings, outcome.happenings));
  if (endpoint.state !== 'OPEN') return;
  const special = outcomes.find(each => each.close !== undefined && matches(happenings, each.happenings));
  if (special?.close !== undefined) {
    startClose(run, special.close.codes[0]!);
  } else if (run.isMismatch) {
    // Does not wait for the deadline.
    endBadly(run);
  } else if (
    close.by === 'tester' &&
    close.isInSteps !== true &&
    outcomes.every(outcome => matches(happenings, outcome.happenings))
  ) {
    startClose(run, close.codes[0]!);
  }
}

function receiveClose(run: CaseRun): void {
  const { endpoint, role } = run;
  const { isReplyDue } = control;
  run.remoteCode = control.code === CloseCode.NoStatusReceived ? undefined : control.code;
  run.remoteReason = control.reason;
  run.isClean = true;
  if (isReplyDue) {
    // RFC 6455 §5.5.1: a close frame is answered with one, typically with the same code.
    write(run, [closeFrameOf(run.writer, controlPayload())]);
    run.localCode = run.remoteCode;
  }
  endEndpoint(endpoint);
  run.waiting = undefined;
  // RFC 6455 §7.1.1: the server ends TCP first.
  if (role === 'server') drop(run, false);
  else startWait(run, tcpEndTime);
}

/** The peer broke a rule: RFC 6455 §7.1.7. */
function receiveFault(run: CaseRun): void {
  run.violation = control.reason;
  // The code of an invalid close frame counts for the verdict, too.
  const { size, opcode, bytes, start, end } = frame;
  if (size > 0 && opcode === Opcode.Close && end - start >= 2)
    run.remoteCode = (bytes[start]! << 8) | bytes[start + 1]!;
  run.isClosedByTester = true;
  if (control.isReplyDue) {
    write(run, [closeFrameOf(run.writer, controlPayload())]);
    run.localCode = control.code;
  }
  run.hasFailedPeer = true;
  failEndpoint(run.endpoint);
  drop(run, true);
}

/** @param isByTester whether the tester drops TCP although the peer should end it */
function drop(run: CaseRun, isByTester: boolean): void {
  if (run.isDropping) return;
  if (isByTester) run.isDroppedByTester = true;
  endEndpoint(run.endpoint);
  run.isDropping = true;
  startWait(run, undefined);
}

/** The case has failed: ends it as the plan's deadline would. */
function endBadly(run: CaseRun): void {
  if (run.plan.deadline.end === 'close') {
    startClose(run, CloseCode.NormalClosure);
    return;
  }
  run.hasFailedPeer = true;
  startClose(run, CloseCode.GoingAway);
}

/** The bytes that the run holds beside its endpoint and its output: the payloads of the plan and of happenings, and unread input. */
export function heldBytes({ plan, happenings, rest }: CaseRun): number {
  let held = rest.length;
  for (const step of plan.steps) if ('payload' in step) held += step.payload.length;
  for (const happening of happenings) if (happening.is !== 'timeout') held += happening.payload.length;
  return held;
}

/** The driver's timer for `run.wait` fired. */
export function timePassed(run: CaseRun): void {
  run.wait = undefined;
  const { waiting, endpoint } = run;
  if (waiting !== undefined) {
    run.waiting = undefined;
    if (endpoint.state !== 'OPEN') return;
    if (waiting.label !== undefined) note(run, { is: 'timeout', label: waiting.label });
    if (endpoint.state === 'OPEN') takeSteps(run);
  } else if (endpoint.state === 'OPEN') {
    endBadly(run);
  } else {
    // The peer did not answer the close frame, or the server did not end TCP.
    drop(run, true);
  }
}

/** The stream has ended, or the connection was lost: the case is over. */
export function endCase(run: CaseRun): CaseResult {
  endEndpoint(run.endpoint);
  return judge(run);
}
