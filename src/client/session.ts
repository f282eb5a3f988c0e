/** One open connection: messages go out masked, what comes in is heard, and in the end there is an `Outcome`. */
import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import type { ByteRange } from '../protocol/buffers.ts';
import { CloseCode, Opcode } from '../protocol/codes.ts';
import { defaults, minRate } from '../protocol/limits.ts';
import { type Deflater, deflateMessage, newDeflateState } from '../protocol/websocket/deflate.ts';
import {
  closePayload,
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
import type { Message } from '../protocol/websocket/message.ts';
import type { ClientConfiguration } from './configuration.ts';
import type { OpenConnection } from './dial.ts';
import { FIN, frameLine, maskedFrame, RSV1 } from './frames.ts';
import { done, ExitCode, type Outcome, outcome, showTime } from './outcome.ts';

/** Who listens to a session. */
export interface SessionListener {
  /** A message came; it is lent for this call. @returns whether it was awaited */
  message(message: Message): boolean;
  /** Everything that came was heard. @returns whether more may come now; if not, `resumeReading` says when */
  settled(): boolean;
  /** Something for `--verbose`. */
  trace(lines: readonly string[]): void;
}

export interface ClientSession {
  readonly socket: Socket;
  readonly endpoint: Endpoint;
  readonly configuration: ClientConfiguration;
  readonly listener: SessionListener;
  /** The beginning of a frame. */
  rest: Buffer;
  /** The code of our close frame; 0 before it is sent. */
  closeCode: number;
  /** Whether this side began to close. */
  isLeaving: boolean;
  /** What this side has to say of the end, if it chose it; else it follows from how the server closes. */
  verdict: Outcome | undefined;
  /** Whether something came since the last ping. */
  isAlive: boolean;
  pings: NodeJS.Timeout | undefined;
  deadline: NodeJS.Timeout | undefined;
  /** Runs while no message comes: see `closeWhenQuiet`. */
  quiet: NodeJS.Timeout | undefined;
  /** Called, once, when something changed: see `untilChange`. */
  wake: () => void;
  readonly ended: Promise<Outcome>;
  end: (outcome: Outcome) => void;
}

/** Shorter messages are not compressed: it costs more time than it saves bytes. ws has the same threshold. */
const compressFrom = 1024;

/** RFC 6455 §7.1.1: the server closes the TCP connection first; a client waits for that a while. */
const lingerTime = 1000;

const doneCodes: readonly number[] = [
  CloseCode.NormalClosure,
  CloseCode.GoingAway,
  CloseCode.NoStatusReceived,
];

/** Those that say that the server will be there again. */
const retryableCodes: readonly number[] = [
  CloseCode.GoingAway,
  CloseCode.InternalError,
  CloseCode.ServiceRestart,
  CloseCode.TryAgainLater,
];

/** What a close frame says of the end. */
function verdictOf({ endpoint, closeCode, isLeaving }: ClientSession, code: number, reason: string): Outcome {
  const shown = `${code}${reason === '' ? '' : `: ${reason}`}`;
  if (endpoint.hasFailed) return outcome(ExitCode.ProtocolError, `the connection failed: ${shown}`);
  const isRetryable = !isLeaving && retryableCodes.includes(code);
  // RFC 6455 §5.5.1: the answer to our close frame typically echoes its code.
  const isDone = doneCodes.includes(code) || (isLeaving && code === closeCode);
  if (isDone && isLeaving) return done;
  return outcome(isDone ? ExitCode.Done : ExitCode.Closed, `closed ${shown}`, isRetryable);
}

/** Takes a link over; what came behind its handshake is heard in a later turn. */
export function startSession(
  link: OpenConnection,
  configuration: ClientConfiguration,
  listener: SessionListener,
): ClientSession {
  const { socket, agreement } = link;
  const { deflate } = agreement;
  let end: ClientSession['end'] = () => {};
  const ended = new Promise<Outcome>(resolve => {
    end = resolve;
  });
  const inflater = deflate && newDeflateState(!deflate.serverNoContextTakeover, deflate.serverMaxWindowBits);
  const deflater = deflate && newDeflateState(!deflate.clientNoContextTakeover, deflate.clientMaxWindowBits);
  const session: ClientSession = {
    ...{ socket, configuration, listener, ended, end },
    endpoint: {
      ...newEndpoint('client', configuration.maxMessage, inflater, deflater),
      deliversWhileClosing: true,
    },
    ...{ rest: Buffer.alloc(0), closeCode: 0, isLeaving: false, verdict: undefined, isAlive: true },
    ...{ pings: undefined, deadline: undefined, quiet: undefined, wake: () => {} },
  };
  let fault = '';
  socket.on('error', error => {
    fault = ` (${error.message})`;
  });
  socket.on('data', (chunk: Buffer) => receiveChunk(session, chunk));
  socket.on('drain', () => session.wake());
  socket.on('close', () => {
    clearInterval(session.pings);
    clearTimeout(session.deadline);
    clearTimeout(session.quiet);
    session.endpoint.state = 'CLOSED';
    session.wake();
    // RFC 6455 §7.1.5: without a close frame, the code is 1006.
    const lost = `closed ${CloseCode.AbnormalClosure}: the connection was lost${fault}`;
    session.end(session.verdict ?? outcome(ExitCode.Closed, lost, !session.isLeaving));
  });
  if (link.rest.length > 0) socket.unshift(link.rest);
  socket.resume();
  if (configuration.ping > 0) session.pings = setInterval(() => ping(session), configuration.ping);
  return session;
}

function receiveChunk(session: ClientSession, chunk: Buffer): void {
  const { endpoint, listener } = session;
  if (endpoint.state === 'CLOSED') return;
  session.isAlive = true;
  const bytes = session.rest.length === 0 ? chunk : Buffer.concat([session.rest, chunk]);
  session.rest = Buffer.from(bytes.subarray(readFrames(session, bytes)));
  // A large message takes its time; pings do not count.
  if (endpoint.incoming !== undefined) session.quiet?.refresh();
  if (!listener.settled() && isConnected(session)) session.socket.pause();
}

/** @returns where it stopped: before an incomplete frame */
function readFrames(session: ClientSession, bytes: Buffer): number {
  const { configuration, endpoint, listener } = session;
  const input = { bytes, start: 0, end: bytes.length };
  for (;;) {
    const event = nextEvent(endpoint, input);
    if (configuration.verbose && frame.size > 0) listener.trace([frameLine('<', frame)]);
    switch (event) {
      case ProtocolEvent.NeedMore:
      case ProtocolEvent.Paused:
        return input.start;

      case ProtocolEvent.Frame:
      case ProtocolEvent.Inflating:
      case ProtocolEvent.Pong:
        break;

      case ProtocolEvent.Message:
        if (listener.message(message)) session.deadline?.refresh();
        session.quiet?.refresh();
        releaseMessage();
        break;

      case ProtocolEvent.Ping:
        // RFC 6455 §5.5.2: a ping is answered with a pong that has the same payload.
        if (control.isReplyDue) sendControl(session, Opcode.Pong, control);
        break;

      case ProtocolEvent.Close:
        // RFC 6455 §5.5.1: a close frame is answered with one.
        if (control.isReplyDue) sendClose(session, control);
        endEndpoint(endpoint);
        closed(session, control.code, control.reason);
        return bytes.length;

      case ProtocolEvent.Failed:
        // RFC 6455 §7.1.7: before an endpoint fails the connection, it says why in a close frame.
        if (control.isReplyDue) sendClose(session, control);
        failEndpoint(endpoint);
        closed(session, control.code, control.reason);
        return bytes.length;
    }
  }
}

function sendControl(session: ClientSession, opcode: number, { bytes, start, end }: ByteRange): void {
  sendFrame(session, FIN | opcode, bytes, start, end);
}

function sendClose(session: ClientSession, payload: ByteRange): void {
  const { bytes, start, end } = payload;
  if (end - start >= 2) session.closeCode = (bytes[start]! << 8) | bytes[start + 1]!;
  sendControl(session, Opcode.Close, payload);
}

/** The WebSocket connection is closed; RFC 6455 §7.1.1: the client waits a while for the server to close the TCP connection. */
function closed(session: ClientSession, code: number, reason: string): void {
  session.verdict ??= verdictOf(session, code, reason);
  session.socket.end();
  clearTimeout(session.deadline);
  session.deadline = setTimeout(() => session.socket.destroy(), lingerTime);
  session.wake();
}

/** The listener can hear more. */
export function resumeReading(session: ClientSession): void {
  session.socket.resume();
}

function isConnected({ endpoint }: ClientSession): boolean {
  return endpoint.state !== 'CLOSED';
}

/** Whether messages can be sent. */
export function isOpen({ endpoint }: ClientSession): boolean {
  return endpoint.state === 'OPEN';
}

/** Whether what was sent waits for the network: time to send no more, until something changed. */
export function isBackpressured({ socket }: ClientSession): boolean {
  return socket.writableNeedDrain;
}

/** Resolves when the next thing changed: room to send, the end, or what a listener wakes the session for. */
export function untilChange(session: ClientSession): Promise<void> {
  return new Promise(resolve => {
    session.wake = resolve;
  });
}

function sendFrame(
  session: ClientSession,
  first: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const { socket, listener, configuration } = session;
  if (!socket.writable) return;
  socket.write(maskedFrame(first, bytes, start, end));
  if (!configuration.verbose) return;
  const header = {
    fin: (first & FIN) !== 0,
    rsv1: (first & RSV1) !== 0,
    opcode: first & 15,
    length: end - start,
  };
  listener.trace([frameLine('>', header)]);
}

/** Sends one message; its bytes are copied, and a text's are UTF-8. Does nothing unless OPEN. */
export function sendData(session: ClientSession, isText: boolean, bytes: Uint8Array): void {
  if (!isOpen(session)) return;
  const first = FIN | (isText ? Opcode.Text : Opcode.Binary);
  const { deflater } = session.endpoint;
  const payload = deflater === undefined || bytes.length < compressFrom ? bytes : compress(deflater, bytes);
  sendFrame(session, payload === bytes ? first : first | RSV1, payload, 0, payload.length);
}

function compress(deflater: Deflater, bytes: Uint8Array): Uint8Array {
  return deflateMessage(deflater, bytes, 0, bytes.length);
}

/** Sends a fragment of a binary message (RFC 6455 §5.4), so that none has to be held whole. */
export function sendFragment(
  session: ClientSession,
  isFirst: boolean,
  isLast: boolean,
  bytes: Uint8Array,
): void {
  if (!isOpen(session)) return;
  const opcode = isFirst ? Opcode.Binary : Opcode.Continuation;
  sendFrame(session, (isLast ? FIN : 0) | opcode, bytes, 0, bytes.length);
}

/** RFC 6455 §5.5.2: a ping is a question whether the other side is still there. */
function ping(session: ClientSession): void {
  if (!isOpen(session)) return;
  // A server that our own output holds back cannot show that it is alive.
  if (session.isAlive || session.socket.isPaused()) sendPing(session);
  // A stopped process wakes up to its timers first: the pong may wait in the system's buffer, and is read before this.
  else setImmediate(checkAlive, session);
}

function checkAlive(session: ClientSession): void {
  if (!isOpen(session)) return;
  if (session.isAlive) return sendPing(session);
  const late = `no sign of life within ${showTime(session.configuration.ping)} of a ping (--ping)`;
  session.verdict = outcome(ExitCode.TimedOut, late, true);
  session.socket.destroy();
}

function sendPing(session: ClientSession): void {
  session.isAlive = false;
  sendFrame(session, FIN | Opcode.Ping, Buffer.alloc(0), 0, 0);
}

/** Starts the closing handshake when no part of a message has come for `time`, once all output has left. */
export function closeWhenQuiet(
  session: ClientSession,
  closeFrame: { readonly code: number; readonly reason: string },
  time: number,
): void {
  session.quiet = setTimeout(() => {
    const { socket } = session;
    // While our output is stuck, or stdout holds the server back, its silence proves nothing.
    if (socket.writableLength > 0 || socket.isPaused()) session.quiet?.refresh();
    else startClose(session, closeFrame);
  }, time);
}

/**
 * Starts the closing handshake, once. What still comes is heard.
 * @param verdict what to say of the end, whatever the server answers
 */
export function startClose(
  session: ClientSession,
  { code, reason }: { readonly code: number; readonly reason: string },
  verdict?: Outcome,
): void {
  if (!isOpen(session)) return;
  session.verdict = verdict;
  session.isLeaving = true;
  const payload = closePayload(code, reason);
  sendClose(session, { bytes: payload, start: 0, end: payload.length });
  startClosing(session.endpoint);
  const { socket } = session;
  const bytesMoved = () => socket.bytesRead + socket.bytesWritten - socket.writableLength;
  const enough = (minRate * defaults.closeTimeout) / 1000;
  let moved = bytesMoved();
  const giveUp = () => {
    if (!isConnected(session)) return;
    const before = moved;
    moved = bytesMoved();
    // Our own output may hold the server back; and its close frame comes behind messages that are on their way.
    if (socket.isPaused() || moved - before >= enough) return void session.deadline?.refresh();
    const late = `the server did not close within ${showTime(defaults.closeTimeout)} of being told to`;
    session.verdict ??= outcome(ExitCode.TimedOut, late);
    socket.destroy();
  };
  // As above: bytes that have arrived are read first.
  session.deadline = setTimeout(() => setImmediate(giveUp), defaults.closeTimeout);
  session.wake();
}
