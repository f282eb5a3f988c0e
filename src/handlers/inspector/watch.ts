/**
 * The frames of one connection, for a page. A tap decodes the bytes in both directions, as recordings do, up to
 * `maxInspectedFrames` a second. Above that rate, decoding pauses until the next tick, and frames are only counted: the page gets a
 * sample, and the number of frames that it misses.
 */
import { beginMidway } from '../../diagnostics/recordings.ts';
import { addTap, removeTap, type Tap } from '../../diagnostics/tap.ts';
import { log } from '../../log/log.ts';
import {
  contentPerFrame,
  maxDecodedFrame,
  maxExport,
  maxInspectedFrames,
  maxKeptBytes,
  maxKeptFrames,
  maxShownContent,
} from '../../protocol/inspectorLimits.ts';
import { payloadStart } from '../../protocol/websocket/frame.ts';
import {
  type DecodedEvent,
  decode,
  decoderMemory,
  hasLostContext,
  isIgnored,
  newSessionDecoder,
  type SessionDecoder,
  stopDecoder,
} from '../../recordings/decoder.ts';
import type { FrameEvent, RecordedEvent, Side } from '../../recordings/recording.ts';
import { showEvent, showHeader } from '../../recordings/recording.ts';
import { addEvent, clearRedactor, newRedactor, type Redactor } from '../../recordings/redactor.ts';
import { redactEvent } from '../../recordings/secrets.ts';
import type { Connection } from '../../records/records.ts';
import { stateOf } from './connections.ts';
import type { ConnectionState, FramesMessage, InspectedFrame } from './messages.ts';
import {
  addContent,
  countFrames,
  type PendingFrame,
  showBytes,
  showFrameHeader,
  showHead,
  showText,
} from './shown.ts';

/** A frame that can be explained. */
export interface KeptFrame {
  readonly frame: number;
  readonly from: Side;
  /** Its exact bytes, at most `maxShownContent`; undefined if it contained a credential, or its message is incomplete. */
  raw: Buffer | undefined;
  isRedacted: boolean;
  /** permessage-deflate was negotiated. */
  readonly isDeflating: boolean;
  /** The frame before it, of the same message. */
  readonly previous: number | undefined;
  /** The inflated message that it completes. */
  inflated: Buffer | undefined;
}

/** What one side has sent. */
interface Direction {
  /** Frames that the redactor has not released, in order. */
  readonly waiting: { readonly kept: KeptFrame; readonly shown: PendingFrame }[];
  /** The last frame of the incomplete message. */
  fragment: number | undefined;
  /** The content of the message is unknown, so it may contain a credential. */
  isUnknown: boolean;
}

export interface FrameWatch {
  readonly connection: Connection;
  readonly tap: Tap;
  readonly nextFrame: () => number;
  /** Undefined while frames are only counted. */
  decoder: SessionDecoder | undefined;
  readonly redactor: Redactor;
  readonly directions: Readonly<Record<Side, Direction>>;
  hasEnded: boolean;
  /** Frames that may be decoded now. It grows with time. */
  allowance: number;
  allowedAt: number;
  /** For the page. */
  frames: InspectedFrame[];
  /** Frames since the last message to the page: those that were not decoded, and decoded ones that the page does not get. */
  skipped: number;
  unshown: number;
  states: ConnectionState[];
  lastState: ConnectionState | undefined;
  /** The client's frames: those that have arrived, decoded or counted, and those that the server has read. */
  arrivedFrames: number;
  readFrames: number;
  readonly kept: Map<number, KeptFrame>;
  keptBytes: number;
  /** On the clock of `performance.now()`. */
  readonly since: number;
  readonly recording: { readonly lines: string[]; size: number; isCut: boolean };
}

const decoderLimits = { frame: maxDecodedFrame, message: maxDecodedFrame, isBeginningEnough: true };

/** The allowance at which decoding resumes: a sample has consecutive frames, such as a message and its echo. */
const leastSample = 10;

/** @param nextFrame the numbers of the frames */
export function beginWatch(connection: Connection, nextFrame: () => number): FrameWatch {
  const { server, id } = connection;
  const since = performance.now();
  const newDirection = (): Direction => ({ waiting: [], fragment: undefined, isUnknown: false });
  const header = showHeader({ time: new Date(timeAt(since)).toISOString(), side: 'server', id });
  const watch: FrameWatch = {
    connection,
    nextFrame,
    tap: newTap(() => watch),
    decoder: undefined,
    redactor: newRedactor(server.configuration.recordCredentials, event => release(watch, event)),
    directions: { client: newDirection(), server: newDirection() },
    ...{ hasEnded: false, allowance: maxInspectedFrames, allowedAt: since },
    ...{
      frames: [],
      skipped: 0,
      unshown: 0,
      states: [],
      lastState: undefined,
      arrivedFrames: 0,
      readFrames: 0,
    },
    ...{ kept: new Map(), keptBytes: 0, since },
    recording: { lines: [header], size: header.length, isCut: false },
  };
  addTap(server.taps, id, watch.tap);
  noteState(watch);
  resume(watch);
  return watch;
}

export function endWatch(watch: FrameWatch): void {
  const { connection, tap } = watch;
  if (!watch.hasEnded) removeTap(connection.server.taps, connection.id, tap);
  stop(watch);
}

/** Bytes of memory. */
export function watchMemory({ decoder, redactor, frames, keptBytes, recording }: FrameWatch): number {
  const batch = frames.length * 2 * maxShownContent;
  return (
    (decoder === undefined ? 0 : decoderMemory(decoder)) + redactor.held + keptBytes + recording.size + batch
  );
}

function newTap(watchOf: () => FrameWatch): Tap {
  const altersOutput = () => watchOf().connection.socket.altersOutput === true;
  return {
    arrived: (_, bytes, start, end) => read(watchOf(), 'client', bytes, start, end),
    read: () => noteRead(watchOf()),
    sent: (_, bytes, start, end) => {
      // A faulty socket reports its altered bytes to `wrote`.
      if (!altersOutput()) read(watchOf(), 'server', bytes, start, end);
    },
    wrote: (_, bytes, start, end) => read(watchOf(), 'server', bytes, start, end),
    fault: (_, fault) => note(watchOf(), 'fault', fault),
    ended: () => noteEnd(watchOf()),
  };
}

function read(watch: FrameWatch, from: Side, bytes: Uint8Array, start: number, end: number): void {
  const { decoder, connection } = watch;
  if (decoder === undefined) {
    // The frames of a client are counted when the server reads them: their boundaries are unknown here.
    if (from === 'server' && connection.endpoint !== undefined && connection.socket.altersOutput !== true)
      watch.skipped += countFrames(bytes, start, end, false);
    return;
  }
  try {
    decode(decoder, from, bytes, start, end, performance.now() - watch.since);
  } catch (error) {
    // A bug in the decoder must not end the connection.
    log('warn', 'inspector stopped', { id: connection.id, reason: (error as Error).message });
    stop(watch);
  }
  noteState(watch);
  if (decoderMemory(decoder) + watch.redactor.held > 4 * maxDecodedFrame) stop(watch);
}

/** The server has read the header of a frame of the client. */
function noteRead(watch: FrameWatch): void {
  noteState(watch);
  if (watch.decoder !== undefined) watch.readFrames++;
  else if (watch.arrivedFrames > watch.readFrames) watch.readFrames++;
  else watch.skipped++;
}

/** Stops decoding. Later frames are only counted. */
function stop(watch: FrameWatch): void {
  const { decoder, redactor, directions } = watch;
  if (decoder === undefined) return;
  watch.decoder = undefined;
  stopDecoder(decoder);
  clearRedactor(redactor);
  for (const direction of [directions.client, directions.server]) {
    direction.waiting.length = 0;
    direction.fragment = undefined;
  }
  // Frames that the server began to read before they were complete.
  watch.skipped += Math.max(0, watch.readFrames - watch.arrivedFrames);
}

/** Decodes again, beginning at the bytes that the server has not read. */
function resume(watch: FrameWatch): void {
  const { connection } = watch;
  const { endpoint, input, inputStart, inputEnd } = connection;
  const decoder = newSessionDecoder(event => noteDecoded(watch, event), decoderLimits);
  decoder.onRest = (from, rest) => countRest(watch, from, rest);
  watch.decoder = decoder;
  watch.arrivedFrames = 0;
  watch.readFrames = 0;
  if (endpoint !== undefined) beginMidway(decoder, endpoint);
  if (input !== undefined) read(watch, 'client', input, inputStart, inputEnd);
}

/** Decoding has stopped within a chunk: counts the frames in its rest. */
function countRest(watch: FrameWatch, from: Side, rest: Buffer): void {
  const count = countFrames(rest, 0, rest.length, from === 'client');
  watch.skipped += count;
  if (from === 'client') watch.arrivedFrames += count;
}

/** Whether the event still fits the allowance, which it takes from. The allowance may become negative. */
function spendAllowance(watch: FrameWatch, event: DecodedEvent): boolean {
  if (watch.allowance < 1) return false;
  watch.allowance -= 1 + Math.floor(contentSize(watch, event) / contentPerFrame);
  return true;
}

/** Bytes of content that the decoder has assembled or inflated for the event. */
function contentSize({ connection }: FrameWatch, event: DecodedEvent): number {
  if (event.kind !== 'frame') return 0;
  const { content, opcode, isFinal } = event;
  if (content !== undefined) return content.bytes.length;
  // The decoder may have inflated this much before it gave up.
  return opcode < 8 && isFinal && isDeflating(connection) ? maxDecodedFrame : 0;
}

const isDeflating = ({ endpoint }: Connection) => endpoint?.inflater !== undefined;

function noteDecoded(watch: FrameWatch, event: DecodedEvent): void {
  const { decoder, frames, nextFrame, redactor } = watch;
  if (decoder === undefined) return;
  if (!spendAllowance(watch, event)) {
    watch.skipped++;
    if (event.kind === 'frame' && event.from === 'client') watch.arrivedFrames++;
    stop(watch);
    return;
  }
  const time = timeAt(watch.since + event.at);
  switch (event.kind) {
    case 'request':
    case 'response':
      frames.push(showHead(nextFrame(), time, redactor.hasCredentials ? event : redactEvent(event, false)));
      break;
    case 'bytes': {
      const shown = showBytes(nextFrame(), time, event);
      frames.push(shown);
      keep(watch, newKept(watch, shown.frame, event.from, undefined), event.bytes);
      break;
    }
    case 'frame':
      noteFrame(watch, event, time);
      return;
  }
  addEvent(redactor, event);
}

function noteFrame(watch: FrameWatch, event: FrameEvent, time: number): void {
  const { frames, directions, redactor, nextFrame } = watch;
  const { from, opcode, isFinal, content } = event;
  const direction = directions[from];
  if (from === 'client') watch.arrivedFrames++;
  const shown = showFrameHeader(nextFrame(), time, event, event.raw!);
  frames.push(shown);
  const isData = opcode < 8;
  const kept = newKept(watch, shown.frame, from, isData && opcode === 0 ? direction.fragment : undefined);
  if (isData) direction.fragment = isFinal ? undefined : shown.frame;
  if (isData && isFinal && content === undefined) {
    shown.isUninflated = true;
    direction.isUnknown = !redactor.hasCredentials;
  }
  // Control frames between fragments do not wait for the end of the message.
  if (!isData && direction.waiting.length > 0 && content !== undefined) {
    const { content: redacted } = redactor.hasCredentials ? event : redactEvent(event, false);
    addContent(shown, opcode, redacted!);
  }
  direction.waiting.push({ kept, shown });
  addEvent(redactor, event);
  direction.isUnknown = false;
}

/** The redactor releases an event. It holds the frames of a message until the message is complete. */
function release(watch: FrameWatch, event: RecordedEvent): void {
  record(watch, event);
  if (event.kind !== 'frame') return;
  const { from, opcode, content, raw, isCompressed } = event;
  const direction = watch.directions[from];
  const waiting = direction.waiting.shift();
  if (waiting === undefined) return;
  const { kept, shown } = waiting;
  if (raw === undefined) {
    kept.isRedacted = true;
    shown.isRedacted = true;
  }
  if (content !== undefined && shown.text === undefined && shown.hex === undefined)
    addContent(shown, opcode, content);
  const isMessageCompressed = isCompressed || (opcode === 0 && isFirstCompressed(watch, kept));
  if (content !== undefined && isMessageCompressed) kept.inflated = content.bytes;
  if (raw !== undefined) keep(watch, kept, direction.isUnknown && opcode < 8 ? headerOf(raw) : raw);
  else keep(watch, kept, undefined);
}

function isFirstCompressed({ kept }: FrameWatch, frame: KeptFrame): boolean {
  let first = frame;
  while (first.previous !== undefined) {
    const before = kept.get(first.previous);
    if (before === undefined) return false;
    first = before;
  }
  return first.raw !== undefined && (first.raw[0]! & 0x40) !== 0;
}

/** The bytes before the payload. */
function headerOf(raw: Buffer): Buffer {
  return raw.subarray(0, payloadStart(raw, 0) + ((raw[1]! & 0x80) === 0 ? 0 : 4));
}

function newKept(
  { connection }: FrameWatch,
  frame: number,
  from: Side,
  previous: number | undefined,
): KeptFrame {
  return {
    ...{ frame, from, previous },
    ...{ raw: undefined, isRedacted: false, inflated: undefined },
    isDeflating: isDeflating(connection),
  };
}

/** Keeps the frame for explanations, and drops the oldest ones. */
function keep(watch: FrameWatch, frame: KeptFrame, raw: Buffer | undefined): void {
  const { kept } = watch;
  frame.raw = raw === undefined ? undefined : Buffer.from(raw.subarray(0, maxShownContent));
  kept.set(frame.frame, frame);
  watch.keptBytes += sizeOf(frame);
  for (const [number, oldest] of kept) {
    if (kept.size <= maxKeptFrames && watch.keptBytes <= maxKeptBytes) break;
    kept.delete(number);
    watch.keptBytes -= sizeOf(oldest);
  }
}

/** An estimate, with the objects. */
function sizeOf({ raw, inflated }: KeptFrame): number {
  return 300 + (raw?.length ?? 0) + (inflated?.length ?? 0);
}

function record(watch: FrameWatch, event: RecordedEvent): void {
  const { recording, skipped } = watch;
  if (skipped > 0) cutRecording(watch, event.at, 'the inspector left out frames');
  if (recording.isCut) return;
  const line = showEvent(event);
  if (recording.size + line.length > maxExport)
    return cutRecording(watch, event.at, 'the recording of an inspector is limited; use --record');
  recording.lines.push(line);
  recording.size += line.length;
}

/** Ends the recording before its connection: a recording has no gaps. */
function cutRecording({ recording }: FrameWatch, at: number, why: string): void {
  if (recording.isCut) return;
  recording.isCut = true;
  recording.lines.push(showEvent({ kind: 'cut', at, why }));
}

function note(watch: FrameWatch, kind: 'fault' | 'end', text: string): void {
  if (watch.frames.length >= 2 * maxInspectedFrames) return;
  const time = timeAt(performance.now());
  watch.frames.push(showText(watch.nextFrame(), time, { kind, isIn: false }, text));
}

/** The connection is about to be freed. */
function noteEnd(watch: FrameWatch): void {
  const { connection, since } = watch;
  const { by = 'server', why = '' } = connection.ending ?? {};
  stop(watch);
  note(watch, 'end', why === '' ? `ended by the ${by}` : why);
  record(watch, { kind: 'end', at: performance.now() - since, by, why });
  watch.hasEnded = true;
  // Within one turn, a connection can pass several states.
  const { state } = connection.endpoint ?? {};
  if (state !== undefined && state !== watch.lastState) watch.states.push(state);
  watch.states.push('ENDED');
}

function noteState(watch: FrameWatch): void {
  const state = stateOf(watch.connection);
  if (state === watch.lastState) return;
  watch.lastState = state;
  watch.states.push(state);
}

/**
 * Called once a tick. Resumes decoding if the allowance permits it.
 * @param isShown whether the page gets frames now: it is not paused, and keeps up
 * @returns the frames since the last call; undefined if there are none
 */
export function takeFrames(watch: FrameWatch, isShown: boolean): FramesMessage | undefined {
  const { frames, skipped, connection } = watch;
  if (!watch.hasEnded) {
    noteState(watch);
    refillAllowance(watch);
    if (mayRestart(watch)) restart(watch);
  }
  if (skipped > 0) cutRecording(watch, performance.now() - watch.since, 'the inspector left out frames');
  watch.frames = [];
  watch.skipped = 0;
  watch.unshown += skipped;
  if (!isShown) watch.unshown += frames.length;
  if (!isShown || (frames.length === 0 && watch.unshown === 0)) return undefined;
  const message: FramesMessage = {
    type: 'frames',
    serial: connection.serial,
    frames,
    skipped: watch.unshown,
  };
  watch.unshown = 0;
  return message;
}

function refillAllowance(watch: FrameWatch): void {
  const now = performance.now();
  const grown = ((now - watch.allowedAt) * maxInspectedFrames) / 1000;
  watch.allowance = Math.min(maxInspectedFrames, watch.allowance + grown);
  watch.allowedAt = now;
}

/** Whether decoding may begin again at the unread input. A frame that was shown or counted on arrival must not count twice. */
function mayRestart({ decoder, connection, allowance, arrivedFrames, readFrames }: FrameWatch): boolean {
  if (arrivedFrames > readFrames && connection.input !== undefined) return false;
  return decoder === undefined ? allowance >= leastSample : isStuck(decoder, connection);
}

function restart(watch: FrameWatch): void {
  stop(watch);
  resume(watch);
}

/** Whether a new decoder would know more: this one saw no handshake, because of TLS, or has lost the compression context. */
function isStuck(decoder: SessionDecoder, { endpoint }: Connection): boolean {
  if (endpoint === undefined) return false;
  return (['client', 'server'] as const).some(
    from => isIgnored(decoder, from) || hasLostContext(decoder, from),
  );
}

export function exportRecording({ connection, recording }: FrameWatch): {
  readonly type: 'recording';
  readonly serial: number;
  readonly text: string;
  readonly isCut: boolean;
} {
  const { lines, isCut } = recording;
  return { type: 'recording', serial: connection.serial, text: lines.join(''), isCut };
}

function timeAt(monotonic: number): number {
  return Math.round((performance.timeOrigin + monotonic) * 1000) / 1000;
}
