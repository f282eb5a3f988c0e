/**
 * A frame as one line for people: in the trace, in `why` and in the client's `--verbose`.
 *
 *     < text, 5 bytes (7 deflated): "hello" [final, compressed, masked]
 *     > close, 5 bytes: 1000 (normal closure) "bye" [final]
 */
import { type Buffer, isUtf8 } from 'node:buffer';
import type { LogFields } from '../log/log.ts';
import { printableJson } from '../log/printable.ts';
import { Opcode, opcodeNames } from '../protocol/codes.ts';
import { maxControlPayload } from '../protocol/limits.ts';
import { FIN, RSV1 } from '../protocol/websocket/frame.ts';
import { redactText } from '../recordings/secrets.ts';
import { meaningOfCode } from './meanings.ts';

/** As in curl: `<` was received, `>` is sent. */
export type FrameDirection = '<' | '>';

/** The part of a payload that a line shows. At most one of `text` and `hex` is set. */
export interface ShownPayload {
  readonly code?: number | undefined;
  readonly text?: string | undefined;
  readonly hex?: string | undefined;
  /** Only the beginning is shown. */
  readonly isCut: boolean;
}

export interface ShownFrame {
  readonly direction: FrameDirection;
  /** The frame's first byte: FIN, RSV1 to RSV3 and opcode. `undefined` for bytes of a wire without frames. */
  readonly first: number | undefined;
  readonly isMasked: boolean;
  /** The length of the payload on the wire. */
  readonly length: number;
  /** The beginning of the payload, unmasked. */
  readonly head: Buffer;
}

/** Facts about a frame that its bytes do not show. */
export interface FrameContext {
  /** Its message is compressed. RSV1 marks only the first frame of such a message. */
  readonly isCompressed?: boolean;
  /** The length of the inflated message in `payload`, if the frame is the whole message. */
  readonly inflatedLength?: number | undefined;
  /** Replaces the frame's payload in the line. */
  readonly payload?: ShownPayload;
}

/** The characters of a text, or the bytes of other data, that a line shows. */
export const shownLength = 48;

/** One printable line. */
export function frameLine(frame: ShownFrame, context: FrameContext = {}): string {
  const { direction, first, length } = frame;
  const { inflatedLength } = context;
  const isCompressed = hasCompression(frame, context);
  const size =
    inflatedLength === undefined
      ? `${countBytes(length)}${isCompressed ? ' deflated' : ''}`
      : `${countBytes(inflatedLength)} (${length} deflated)`;
  const name = nameOfFrame(first);
  const place = placeInMessage(first);
  const parts = [...(name === 'bytes' ? [] : [name]), size, ...(place === undefined ? [] : [place])];
  if (first !== undefined && (first & 0x0f) === Opcode.Close && length === 0) parts.push('no code');
  const flags = flagsOf(frame, isCompressed);
  const shownFlags = flags.length === 0 ? '' : ` [${flags.join(', ')}]`;
  return `${direction} ${parts.join(', ')}${showPayload(context.payload ?? payloadOf(frame, isCompressed))}${shownFlags}`;
}

/** Adds the payload to the context, once for `frameLine` and `frameFields`. */
export function withPayload(frame: ShownFrame, context: FrameContext = {}): FrameContext {
  const payload = context.payload ?? payloadOf(frame, hasCompression(frame, context));
  return { ...context, payload };
}

/** The fields of the log event. */
export function frameFields(frame: ShownFrame, context: FrameContext = {}): LogFields {
  const { direction, first, length, isMasked } = frame;
  const isCompressed = hasCompression(frame, context);
  const { code, text, hex } = context.payload ?? payloadOf(frame, isCompressed);
  const isFrame = first !== undefined;
  return {
    way: direction,
    opcode: nameOfFrame(first),
    length,
    inflated: context.inflatedLength,
    fin: isFrame ? (first & FIN) !== 0 : undefined,
    compressed: isFrame ? isCompressed : undefined,
    masked: isFrame ? isMasked : undefined,
    ...{ code, text, hex },
  };
}

/** `1 byte`, `2 bytes`. */
export function countBytes(count: number): string {
  return count === 1 ? '1 byte' : `${count} bytes`;
}

/** `: ` and the payload, or nothing. */
export function showPayload({ code, text, hex, isCut }: ShownPayload): string {
  const parts = [
    ...(code === undefined ? [] : [`${code} (${meaningOfCode(code)})`]),
    ...(text === undefined || text === '' ? [] : [printableJson(text)]),
    ...(hex === undefined || hex === '' ? [] : [hex]),
    ...(isCut ? ['…'] : []),
  ];
  return parts.length === 0 ? '' : `: ${parts.join(' ')}`;
}

function nameOfFrame(first: number | undefined): string {
  return first === undefined ? 'bytes' : (opcodeNames.get(first & 0x0f) ?? `opcode ${first & 0x0f}`);
}

/** RFC 6455 §5.4: FIN and the opcode 0 mark the fragments of a message. */
function placeInMessage(first: number | undefined): string | undefined {
  if (first === undefined || (first & 0x0f) >= 8) return undefined;
  const isFinal = (first & FIN) !== 0;
  if ((first & 0x0f) !== Opcode.Continuation) return isFinal ? undefined : 'first fragment';
  return isFinal ? 'last fragment' : 'next fragment';
}

function hasCompression({ first }: ShownFrame, { isCompressed }: FrameContext): boolean {
  return isCompressed ?? (first !== undefined && (first & RSV1) !== 0);
}

/** The bits of the header that are set, in words. */
function flagsOf({ first, isMasked }: ShownFrame, isCompressed: boolean): string[] {
  if (first === undefined) return [];
  return [
    ...((first & FIN) !== 0 ? ['final'] : []),
    ...((first & RSV1) !== 0 ? [isCompressed ? 'compressed' : 'RSV1'] : []),
    ...((first & 0x20) !== 0 ? ['RSV2'] : []),
    ...((first & 0x10) !== 0 ? ['RSV3'] : []),
    ...(isMasked ? ['masked'] : []),
  ];
}

/** The payload of a frame without its context. */
function payloadOf({ first, head, length }: ShownFrame, isCompressed: boolean): ShownPayload {
  const isCut = head.length < length;
  const opcode = first === undefined ? undefined : first & 0x0f;
  if (opcode === Opcode.Close && head.length >= 2) {
    // The line shows the whole reason: it is short.
    return { code: head.readUInt16BE(), ...shownBytes(head.subarray(2), isCut, false, maxControlPayload) };
  }
  if (opcode === Opcode.Binary || isCompressed) return shownHex(head, isCut);
  // HTTP answers contain credentials, too, such as the id of a polling session.
  const shown = shownBytes(head, isCut, first === undefined);
  // Unknown bytes are shown as text only if they look like text.
  if (opcode === Opcode.Text || shown.text === undefined) return shown;
  return /[\0-\x08\x0e-\x1f\ufffd]/.test(shown.text) ? shownHex(head, isCut) : shown;
}

/**
 * Text without credentials, if the bytes are valid UTF-8; otherwise hexadecimal digits.
 * @param isCut more bytes follow
 * @param isFirst the bytes are the first message of their sender
 */
export function shownBytes(
  bytes: Buffer,
  isCut: boolean,
  isFirst = false,
  longest = shownLength,
): ShownPayload {
  const text = wholeText(bytes, isCut);
  if (text === undefined && hasCredential(bytes)) return { isCut: true };
  return text === undefined ? shownHex(bytes, isCut) : shownText(redactText(text, isFirst), isCut, longest);
}

/** Whether bytes contain a credential, even if they are not valid UTF-8. */
export function hasCredential(bytes: Buffer): boolean {
  const text = bytes.toString('latin1');
  return redactText(text, true) !== text;
}

export function shownText(text: string, isCut: boolean, longest = shownLength): ShownPayload {
  if (text.length <= longest) return { text, isCut };
  // Do not cut a surrogate pair.
  const end = /[\ud800-\udbff]/.test(text[longest - 1]!) ? longest - 1 : longest;
  return { text: text.slice(0, end), isCut: true };
}

export function shownHex(bytes: Buffer, isCut: boolean): ShownPayload {
  return { hex: bytes.toString('hex', 0, shownLength), isCut: isCut || bytes.length > shownLength };
}

/** Decodes bytes that may end inside a character if `isCut`. @returns undefined if they are not UTF-8 */
export function wholeText(bytes: Buffer, isCut: boolean): string | undefined {
  const fewest = isCut ? Math.max(0, bytes.length - 3) : bytes.length;
  for (let end = bytes.length; end >= fewest; end--)
    if (isUtf8(bytes.subarray(0, end))) return bytes.toString('utf8', 0, end);
  return undefined;
}
