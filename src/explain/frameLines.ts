/**
 * The frames of one direction of a connection as lines. A frame does not show the text of a message that is compressed, fragmented or
 * incomplete: the caller passes the content of such a message once it is complete.
 *
 *     < text, 3 bytes, first fragment: "hel" [masked]
 *     < continuation, 2 bytes, last fragment: "lo" [final, masked]
 *     < message of 2 frames: text, 5 bytes: "hello"
 */
import { Buffer } from 'node:buffer';
import type { LogFields } from '../log/log.ts';
import { Opcode } from '../protocol/codes.ts';
import { hidden } from '../protocol/http/redact.ts';
import { FIN, RSV1 } from '../protocol/websocket/frame.ts';
import type { Message } from '../protocol/websocket/message.ts';
import { redactText } from '../recordings/secrets.ts';
import {
  countBytes,
  type FrameContext,
  type FrameDirection,
  frameFields,
  frameLine,
  hasCredential,
  type ShownFrame,
  type ShownPayload,
  shownBytes,
  shownHex,
  shownLength,
  shownText,
  showPayload,
  wholeText,
  withPayload,
} from './frameLine.ts';

/** Bytes of a payload that are searched for credentials. A line shows fewer. */
export const readLength = 1024;

/** A line, for people and for programs. */
export interface TraceLine {
  readonly kind: 'frame' | 'message';
  readonly text: string;
  readonly fields: LogFields;
}

/** A fragmented message whose last frame has not arrived. */
interface UnfinishedMessage {
  readonly opcode: number;
  readonly isCompressed: boolean;
  frames: number;
  length: number;
  /** The text so far; undefined if it is too long, or if a part of it arrived after its frame's header. */
  text: Buffer | undefined;
}

/** A message, unmasked and inflated. */
export interface MessageContent {
  readonly isText: boolean;
  readonly length: number;
  /** At most `readLength` bytes. */
  readonly head: Buffer;
}

/** The content of a message, with a copy of its beginning. */
export function contentOf({ isText, bytes, start, end }: Message): MessageContent {
  const head = Buffer.from(bytes.subarray(start, Math.min(end, start + readLength)));
  return { isText, length: end - start, head };
}

/** One direction. */
export interface FrameLines {
  readonly direction: FrameDirection;
  /** Messages that have been shown. */
  messages: number;
  message: UnfinishedMessage | undefined;
  /** The frame of a compressed message, until its content is known. */
  waiting: ShownFrame | undefined;
  /** The message whose frames have been shown, until its content is known. */
  complete: UnfinishedMessage | undefined;
  /** The content of the next compressed frame. */
  announced: MessageContent | undefined;
}

export function newFrameLines(direction: FrameDirection): FrameLines {
  return {
    direction,
    messages: 0,
    message: undefined,
    waiting: undefined,
    complete: undefined,
    announced: undefined,
  };
}

/** The memory of incomplete messages, bytes. */
export function linesMemory({ message, waiting, announced }: FrameLines): number {
  return (message?.text?.length ?? 0) + (waiting?.head.length ?? 0) + (announced?.head.length ?? 0);
}

/**
 * The lines of the next frame. The line of a compressed message waits for its content.
 * @param frame its `head` has at most `readLength` bytes, and belongs to this function
 * @param mayKeep whether the memory limit allows to keep text for later lines
 */
export function linesOfFrame(lines: FrameLines, frame: ShownFrame, mayKeep = true): TraceLine[] {
  const { first } = frame;
  if (first === undefined || (first & 0x0f) >= 8) return [lineOf(frame)];
  const before = linesOfRest(lines);
  const isFinal = (first & FIN) !== 0;
  if ((first & 0x0f) !== Opcode.Continuation) {
    const isCompressed = (first & RSV1) !== 0;
    if (isFinal) return [...before, ...linesOfWhole(lines, frame, isCompressed, mayKeep)];
    lines.message = {
      ...{ opcode: first & 0x0f, isCompressed, frames: 0, length: 0 },
      text: mayKeep && (first & 0x0f) === Opcode.Text && !isCompressed ? nothing : undefined,
    };
  }
  const { message } = lines;
  // Its message began before the trace.
  if (message === undefined) return [...before, lineOf(frame)];
  message.frames++;
  message.length += frame.length;
  const line = lineOf(frame, {
    isCompressed: message.isCompressed,
    ...payloadOfFragment(lines, message, frame, mayKeep),
  });
  if (!isFinal) return [...before, line];
  lines.message = undefined;
  // The caller passes the content of received messages only.
  if (lines.direction === '<') lines.complete = message;
  else lines.messages++;
  return [...before, line];
}

const nothing = Buffer.alloc(0);

/** A copy outside Node's pool: a slice of the pool would keep 8 KiB in memory. */
function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

/** A message of one frame. */
function linesOfWhole(
  lines: FrameLines,
  frame: ShownFrame,
  isCompressed: boolean,
  mayKeep: boolean,
): TraceLine[] {
  const { announced } = lines;
  lines.announced = undefined;
  if (isCompressed && announced !== undefined) return [inflatedLine(lines, frame, announced)];
  if (isCompressed && lines.direction === '<' && mayKeep) {
    lines.waiting = { ...frame, head: ownCopy(frame.head.subarray(0, shownLength)) };
    return [];
  }
  const opcode = frame.first! & 0x0f;
  const isFirst = lines.messages === 0;
  // The content is known once the rest of the frame has arrived.
  if (lines.direction === '<' && frame.head.length < Math.min(frame.length, shownLength))
    lines.complete = { opcode, isCompressed, frames: 1, length: frame.length, text: undefined };
  else lines.messages++;
  const isCut = frame.head.length < frame.length;
  if (opcode !== Opcode.Text || isCompressed) return [lineOf(frame)];
  return [lineOf(frame, { payload: shownBytes(frame.head, isCut, isFirst) })];
}

function inflatedLine(lines: FrameLines, frame: ShownFrame, content: MessageContent): TraceLine {
  return lineOf(frame, { inflatedLength: content.length, payload: contentPayload(lines, content) });
}

function lineOf(frame: ShownFrame, known: FrameContext = {}): TraceLine {
  const context = withPayload(frame, known);
  return { kind: 'frame', text: frameLine(frame, context), fields: frameFields(frame, context) };
}

function contentPayload(lines: FrameLines, { isText, length, head }: MessageContent): ShownPayload {
  const isFirst = lines.messages++ === 0;
  const isCut = head.length < length;
  return isText ? shownBytes(head, isCut, isFirst) : shownHex(head, isCut);
}

/**
 * The text that a fragment adds to its message. The search for credentials covers the whole text so far, because a fragment may
 * begin or end inside a credential.
 */
function payloadOfFragment(
  { messages }: FrameLines,
  message: UnfinishedMessage,
  { head, length }: ShownFrame,
  mayKeep: boolean,
): { payload?: ShownPayload } {
  const { text, opcode, isCompressed } = message;
  // The line `message` shows the inflated message.
  if (isCompressed) return { payload: { isCut: false } };
  if (opcode !== Opcode.Text) return { payload: shownHex(head, head.length < length) };
  if (text === undefined) return { payload: { isCut: length > 0 } };
  const next = Buffer.concat([text, head]);
  const isWhole = head.length === length && next.length <= readLength;
  message.text = isWhole && mayKeep ? ownCopy(next) : undefined;
  const [before, after] = [text, next].map(bytes => wholeText(bytes, true));
  if (before === undefined || after === undefined)
    return { payload: hasCredential(next) ? { isCut: true } : shownHex(head, !isWhole) };
  const shownBefore = redactText(before, messages === 0);
  const shownAfter = redactText(after, messages === 0);
  const added = shownAfter.startsWith(shownBefore) ? shownAfter.slice(shownBefore.length) : hidden;
  return { payload: shownText(added, !isWhole) };
}

/** The lines that show the content of the message whose last frame was read. */
export function linesOfContent(lines: FrameLines, content: MessageContent): TraceLine[] {
  const { waiting, complete } = lines;
  lines.waiting = undefined;
  lines.complete = undefined;
  if (waiting !== undefined) return [inflatedLine(lines, waiting, content)];
  return complete === undefined ? [] : [messageLine(lines, complete, content)];
}

function messageLine(
  lines: FrameLines,
  { frames, length, isCompressed }: UnfinishedMessage,
  content: MessageContent,
): TraceLine {
  const kind = content.isText ? 'text' : 'binary';
  const size = `${countBytes(content.length)}${isCompressed ? ` (${length} deflated)` : ''}`;
  const of = frames === 1 ? '' : ` of ${frames} frames`;
  const payload = contentPayload(lines, content);
  const { text, hex } = payload;
  const inflated = isCompressed ? content.length : undefined;
  return {
    kind: 'message',
    text: `${lines.direction} message${of}: ${kind}, ${size}${showPayload(payload)}`,
    fields: { way: lines.direction, opcode: kind, frames, length, inflated, text, hex },
  };
}

/** The line of a compressed frame whose content will not arrive. */
export function linesOfRest(lines: FrameLines): TraceLine[] {
  const { waiting } = lines;
  lines.waiting = undefined;
  lines.complete = undefined;
  return waiting === undefined ? [] : [lineOf(waiting)];
}
