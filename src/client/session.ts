/** An open connection from the client's side, until its `Outcome`. */
import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import {
  contentOf,
  type FrameLines,
  linesOfContent,
  linesOfFrame,
  linesOfRest,
  newFrameLines,
  readLength,
  type TraceLine,
} from '../explain/frameLines.ts';
import { isHeaderRefused, refusalLine } from '../explain/refusals.ts';
import type { ByteRange } from '../protocol/buffers.ts';
import { CloseCode, Opcode } from '../protocol/codes.ts';
import { defaults, minRate } from '../protocol/limits.ts';
import { type DeflateContext, deflateMessage, newContextOf } from '../protocol/websocket/deflate.ts';
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
import { FIN, RSV1 } from '../protocol/websocket/frame.ts';
import type { Message } from '../protocol/websocket/message.ts';
import type { Side } from '../recordings/recording.ts';
import type { ConnectionSettings } from './configuration.ts';
import type { OpenConnection } from './dial.ts';
import { maskedFrame } from './frames.ts';
import { done, ExitCode, type Outcome, outcome, showDuration } from './outcome.ts';

/** What the owner of a session does with its events. */
export interface SessionListener {
  /** Handles a message, which is valid during the call. @returns false if the message was not wanted any more */
  message(message: Message): boolean;
  /** Writes output after a chunk was read. @returns false to pause reading until `resumeReading` */
  flush(): boolean;
  /** Prints lines for `--verbose`. */
  trace(lines: readonly string[]): void;
  /** A pong arrived; its payload is lent for this call. */
  pong?(payload: ByteRange): void;
  /** The WebSocket connection is closed; 1005 for a close frame without a code (RFC 6455 §7.1.5). */
  closed?(code: number, reason: string): void;
  /** Records bytes after the handshake. */
  readonly observe?: ((from: Side, bytes: Uint8Array) => void) | undefined;
}

export interface ClientSession {
  readonly socket: Socket;
  readonly endpoint: Endpoint;
  readonly configuration: ConnectionSettings;
  readonly listener: SessionListener;
  /** For `--verbose`. */
  readonly received: FrameLines;
  readonly sent: FrameLines;
  /** The start of an incomplete frame. */
  rest: Buffer;
  /** The code of the close frame sent; 0 before. */
  closeCode: number;
  /** Whether the client started the closing handshake. */
  isLeaving: boolean;
  /** The outcome, if the client decided it; otherwise it follows from the server's close. */
  verdict: Outcome | undefined;
  /** Whether any byte has arrived since the last ping. */
  isAlive: boolean;
  pings: NodeJS.Timeout | undefined;
  deadline: NodeJS.Timeout | undefined;
  /** Restarted by every message: see `closeWhenQuiet`. */
  quiet: NodeJS.Timeout | undefined;
  /** Resolves the promise of `untilChange`. */
  wake: () => void;
  readonly ended: Promise<Outcome>;
  end: (outcome: Outcome) => void;
}

/** Compressing shorter messages costs more time than it saves bytes; ws has the same threshold. */
const compressFrom = 1024;

/** RFC 6455 §7.1.1: the server closes the TCP connection first; milliseconds for which the client waits. */
const lingerTime = 1000;

const doneCodes: readonly number[] = [
  CloseCode.NormalClosure,
  CloseCode.GoingAway,
  CloseCode.NoStatusReceived,
];

/** Codes after which a later connection may succeed. */
const retryableCodes: readonly number[] = [
  CloseCode.GoingAway,
  CloseCode.InternalError,
  CloseCode.ServiceRestart,
  CloseCode.TryAgainLater,
];

/** The outcome that follows from the server's close code. */
function verdictOf({ endpoint, closeCode, isLeaving }: ClientSession, code: number, reason: string): Outcome {
  const shown = `${code}${reason === '' ? '' : `: ${reason}`}`;
  // RFC 6455 §7.1.7 [7.1.7-2]: the client tells its user why the connection failed.
  if (endpoint.hasFailed) return outcome(ExitCode.ProtocolError, `the connection failed: ${shown}`);
  const isRetryable = !isLeaving && retryableCodes.includes(code);
  // RFC 6455 §5.5.1: a server typically answers a close frame with the same code.
  const isDone = doneCodes.includes(code) || (isLeaving && code === closeCode);
  if (isDone && isLeaving) return done;
  return outcome(isDone ? ExitCode.Done : ExitCode.Closed, `closed ${shown}`, isRetryable);
}

/** Starts a session on a connection. Bytes that followed the handshake are read in a later turn. */
export function startSession(
  connection: OpenConnection,
  configuration: ConnectionSettings,
  listener: SessionListener,
): ClientSession {
  const { socket, agreement } = connection;
  const { deflate } = agreement;
  let end: ClientSession['end'] = () => {};
  const ended = new Promise<Outcome>(resolve => {
    end = resolve;
  });
  const inflater = newContextOf(deflate, 'server');
  const deflater = newContextOf(deflate, 'client');
  const session: ClientSession = {
    ...{ socket, configuration, listener, ended, end },
    ...{ received: newFrameLines('<'), sent: newFrameLines('>') },
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
    // RFC 6455 §7.1.5, §7.2.1 [7.1.5-b, 7.2.1-3]: without a close frame, the code is 1006.
    const lost = `closed ${CloseCode.AbnormalClosure}: the connection was lost${fault}`;
    session.end(session.verdict ?? outcome(ExitCode.Closed, lost, !session.isLeaving));
  });
  if (connection.rest.length > 0) socket.unshift(connection.rest);
  socket.resume();
  if (configuration.ping > 0) session.pings = setInterval(() => ping(session), configuration.ping);
  return session;
}

function receiveChunk(session: ClientSession, chunk: Buffer): void {
  const { endpoint, listener } = session;
  if (endpoint.state === 'CLOSED') return;
  session.isAlive = true;
  listener.observe?.('server', chunk);
  const bytes = session.rest.length === 0 ? chunk : Buffer.concat([session.rest, chunk]);
  session.rest = Buffer.from(bytes.subarray(readFrames(session, bytes)));
  // A large message that is still arriving counts as activity; pings do not.
  if (endpoint.incoming !== undefined) session.quiet?.refresh();
  if (!listener.flush() && isConnected(session)) session.socket.pause();
}

/** @returns where it stopped: before an incomplete frame */
function readFrames(session: ClientSession, bytes: Buffer): number {
  const { configuration, endpoint, listener } = session;
  const input = { bytes, start: 0, end: bytes.length };
  for (;;) {
    const event = nextEvent(endpoint, input);
    if (configuration.verbose) traceEvent(session, event, input);
    switch (event) {
      case ProtocolEvent.NeedMore:
      case ProtocolEvent.Paused:
        return input.start;

      case ProtocolEvent.Frame:
      case ProtocolEvent.Inflating:
        break;

      case ProtocolEvent.Pong:
        listener.pong?.(control);
        break;

      case ProtocolEvent.Message:
        if (listener.message(message)) session.deadline?.refresh();
        session.quiet?.refresh();
        releaseMessage();
        break;

      case ProtocolEvent.Ping:
        // RFC 6455 §5.5.2 [5.5.2-2]: a ping is answered with a pong that has the same payload.
        if (control.isReplyDue) sendControl(session, Opcode.Pong, control);
        break;

      case ProtocolEvent.Close:
        // RFC 6455 §5.5.1 [5.5.1-6]: a close frame is answered with one.
        if (control.isReplyDue) sendClose(session, control);
        endEndpoint(endpoint);
        closed(session, control.code, control.reason);
        return bytes.length;

      case ProtocolEvent.Failed:
        // RFC 6455 §7.1.7 [7.1.7-4]: before an endpoint fails the connection, it says why in a close frame.
        if (control.isReplyDue) sendClose(session, control);
        failEndpoint(endpoint);
        closed(session, control.code, control.reason);
        return bytes.length;
    }
  }
}

/** Prints the lines of `--verbose`, in the words of the server's trace. */
function traceEvent(session: ClientSession, event: ProtocolEvent, { bytes, start, end }: ByteRange): void {
  const { received } = session;
  if (frame.size > 0) {
    const first = frame.bytes[frame.start - frame.size]!;
    const head = Buffer.from(
      frame.bytes.subarray(frame.start, Math.min(frame.end, frame.start + readLength)),
    );
    const shown = { direction: '<', first, isMasked: false, length: frame.length, head } as const;
    print(session, linesOfFrame(received, shown));
  }
  if (event === ProtocolEvent.Message) print(session, linesOfContent(received, contentOf(message)));
  if (event !== ProtocolEvent.Failed) return;
  print(session, linesOfRest(received));
  const { code, reason, option } = control;
  const header = isHeaderRefused(code, frame.size) ? bytes.subarray(start, end) : bytes.subarray(0, 0);
  session.listener.trace([refusalLine({ reason, option, bytes: header }).text]);
}

function print({ listener }: ClientSession, lines: readonly TraceLine[]): void {
  listener.trace(lines.map(({ text }) => text));
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
  session.listener.closed?.(code, reason);
  session.verdict ??= verdictOf(session, code, reason);
  clearTimeout(session.deadline);
  // RFC 6455 §5.5.1, §7.1.1 [5.5.1-10, 7.1.1-4, 7.1.1-5]: the client waits a reasonable time for the server's FIN, so the
  // TIME_WAIT state is at the server.
  session.deadline = setTimeout(() => session.socket.destroy(), lingerTime);
  session.wake();
}

/** Resumes reading after `flush` returned false. */
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

/** Whether output waits for the network: the caller should wait for `untilChange`. */
export function isBackpressured({ socket }: ClientSession): boolean {
  return socket.writableNeedDrain;
}

/** Resolves at the next change: the output has drained, the session ended, or `wake` was called. */
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
  const sent = maskedFrame(first, bytes, start, end);
  socket.write(sent);
  listener.observe?.('client', sent);
  if (!configuration.verbose) return;
  const head = Buffer.from(bytes.subarray(start, Math.min(end, start + readLength)));
  print(
    session,
    linesOfFrame(session.sent, { direction: '>', first, isMasked: true, length: end - start, head }),
  );
}

/** Sends a message if the session is open. The bytes are copied; those of a text must be UTF-8. */
export function sendData(session: ClientSession, isText: boolean, bytes: Uint8Array): void {
  if (!isOpen(session)) return;
  const first = FIN | (isText ? Opcode.Text : Opcode.Binary);
  const { deflater } = session.endpoint;
  const payload = deflater === undefined || bytes.length < compressFrom ? bytes : compress(deflater, bytes);
  if (payload !== bytes && session.configuration.verbose)
    session.sent.announced = contentOf({ isText, bytes, start: 0, end: bytes.length });
  sendFrame(session, payload === bytes ? first : first | RSV1, payload, 0, payload.length);
}

function compress(deflater: DeflateContext, bytes: Uint8Array): Uint8Array {
  return deflateMessage(deflater, bytes, 0, bytes.length);
}

/** Sends a fragment of a binary message (RFC 6455 §5.4, §6.1 [5.4-6, 6.1-5]), so the message need not be in memory as a whole. */
export function sendFragment(
  session: ClientSession,
  isFirst: boolean,
  isLast: boolean,
  bytes: Uint8Array,
): void {
  if (!isOpen(session)) return;
  const opcode = isFirst ? Opcode.Binary : Opcode.Continuation;
  // RFC 6455 §5.2 [5.2-a]: FIN marks the last fragment.
  sendFrame(session, (isLast ? FIN : 0) | opcode, bytes, 0, bytes.length);
}

/** RFC 6455 §5.5.2: a ping checks that the peer still responds. */
function ping(session: ClientSession): void {
  if (!isOpen(session)) return;
  // While reading is paused, silence proves nothing.
  if (session.isAlive || session.socket.isPaused()) pingServer(session);
  // After SIGCONT timers run before reads, so the pong may still be in the system's buffer: read first.
  else setImmediate(checkAlive, session);
}

function checkAlive(session: ClientSession): void {
  if (!isOpen(session)) return;
  if (session.isAlive) return pingServer(session);
  const late = `no sign of life within ${showDuration(session.configuration.ping)} of a ping (--ping)`;
  session.verdict = outcome(ExitCode.TimedOut, late, true);
  session.socket.destroy();
}

/** Sends a ping with this payload, at most 125 bytes, if the session is open. */
export function pingServer(session: ClientSession, payload = Buffer.alloc(0)): void {
  if (!isOpen(session)) return;
  session.isAlive = false;
  // RFC 6455 §5.5.2 [5.5.2-4]: a ping may be sent at any time.
  sendFrame(session, FIN | Opcode.Ping, payload, 0, payload.length);
}

/** Starts the closing handshake when all output is sent and no part of a message has arrived for `time` milliseconds. */
export function closeWhenQuiet(
  session: ClientSession,
  closeFrame: { readonly code: number; readonly reason: string },
  time: number,
): void {
  session.quiet = setTimeout(() => {
    const { socket } = session;
    // While output waits, or reading is paused, silence proves nothing.
    if (socket.writableLength > 0 || socket.isPaused()) session.quiet?.refresh();
    else startClose(session, closeFrame);
  }, time);
}

/**
 * Starts the closing handshake, once. Messages that still arrive are delivered.
 * @param verdict the outcome, whatever the server answers
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
  // RFC 6455 §7.1.2 [7.1.2-1]: a close frame with this code and reason starts the closing handshake.
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
    // Reading may be paused, or messages in flight may precede the server's close frame.
    if (socket.isPaused() || moved - before >= enough) return void session.deadline?.refresh();
    const late = `the server did not close within ${showDuration(defaults.closeTimeout)} of the close frame`;
    session.verdict ??= outcome(ExitCode.TimedOut, late);
    socket.destroy();
  };
  // As above: read bytes that have arrived first.
  session.deadline = setTimeout(() => setImmediate(giveUp), defaults.closeTimeout);
  session.wake();
}
