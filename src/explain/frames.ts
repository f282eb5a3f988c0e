/**
 * Explains frames field by field, RFC 6455 §5. This plain decoder is independent of the server's own (protocol/websocket). It
 * names the first rule that a frame breaks, and the byte that proves it.
 */
import { Buffer } from 'node:buffer';
import { printableJson } from '../log/printable.ts';
import {
  CloseCode,
  isSendableCloseCode,
  Opcode,
  opcodeNames,
  ProtocolError,
  type Role,
} from '../protocol/codes.ts';
import { maxControlPayload } from '../protocol/limits.ts';
import { type DeflateContext, inflateMessage } from '../protocol/websocket/deflate.ts';
import { checkUtf8, utf8Invalid, utf8Start } from '../protocol/websocket/utf8.ts';
import { lengthMeanings, meaningOfCode, opcodeMeanings, responseTo } from './meanings.ts';
import type { Breach, Field, FrameExplanation } from './records.ts';
import { reasonRules, rulesOfCode, rulesOfField, rulesOfOpcode } from './rules.ts';

/** The frames of one sender, in order. */
export interface FrameStream {
  readonly sender: Role;
  /** Set if permessage-deflate was negotiated. */
  readonly inflater: DeflateContext | undefined;
  /** The message whose last frame has not arrived. */
  message: UnfinishedMessage | undefined;
  /** The reason for ignoring the rest of the input. */
  ending: string | undefined;
  /** The inflated message, if the caller has it: this stream may lack the context to inflate it. */
  inflated?: Buffer | undefined;
}

/** Each frame replaces it without changing it: an incomplete frame is explained again when more of it arrives. */
interface UnfinishedMessage {
  readonly opcode: number;
  readonly isCompressed: boolean;
  /** The payload of its last frame so far, unmasked; and the message before that frame. */
  readonly payload: Buffer;
  readonly before: UnfinishedMessage | undefined;
  /** The state of the UTF-8 check. */
  readonly utf8: number;
}

/** A message with an unknown beginning, for a continuation frame. */
export function unknownBeginning(): UnfinishedMessage {
  return {
    opcode: Opcode.Binary,
    isCompressed: false,
    payload: Buffer.alloc(0),
    before: undefined,
    utf8: utf8Start,
  };
}

export function newFrameStream(sender: Role, inflater: DeflateContext | undefined): FrameStream {
  return { sender, inflater, message: undefined, ending: undefined };
}

/** The largest inflated message, bytes. */
const maxInflated = 64 * 1024 * 1024;

const base = (section: string) => `RFC 6455 §${section}`;
const deflate = (section: string) => `RFC 7692 §${section}`;

/** The state of explaining one frame. */
interface Reading {
  readonly stream: FrameStream;
  readonly bytes: Buffer;
  readonly start: number;
  readonly fields: Field[];
  breach: Breach | undefined;
}

/**
 * Explains the frame at `bytes[start]`.
 * @param bytes all input of the sender; not changed
 */
export function explainFrame(stream: FrameStream, bytes: Buffer, start: number): FrameExplanation {
  const reading: Reading = { stream, bytes, start, fields: [], breach: undefined };
  const first = bytes[start]!;
  readFirstByte(reading, first);
  const unfinished = `${nameOf(first)}, a part of its header`;
  if (start + 2 > bytes.length) return finish(reading, first, unfinished, start + 2);
  const header = readLength(reading, first);
  if (typeof header === 'number') return finish(reading, first, unfinished, header);
  const { isMasked, length, end: afterLength } = header;
  const payloadAt = afterLength + (isMasked ? 4 : 0);
  if (payloadAt > bytes.length) return finish(reading, first, unfinished, payloadAt);
  const key = bytes.subarray(afterLength, payloadAt);
  if (isMasked)
    addBytes(reading, 'Masking-key', afterLength, 4, {
      meaning: 'byte i of the payload is XORed with byte i mod 4 of this key',
      section: base('5.3'),
    });
  const shown = length === 1 ? '1 byte' : `${length} bytes`;
  const summary = `${nameOf(first)}, ${shown}${(first & 0x40) !== 0 ? ', compressed' : ''}${isMasked ? ', masked' : ''}${first < 0x80 ? ', more frames follow' : ''}`;
  if (reading.breach !== undefined) return finish(reading, first, summary, payloadAt);
  const arrived = Math.min(bytes.length, payloadAt + length);
  const payload = unmasked(bytes.subarray(payloadAt, arrived), key);
  if (arrived > payloadAt) explainPayload(reading, payload, payloadAt, { length, isMasked, key, first });
  const isWhole = payloadAt + length <= bytes.length;
  const content = checkContent(reading, payload, payloadAt, { first, isWhole });
  const end = isWhole ? payloadAt + length : undefined;
  return finish(reading, first, summary, end ?? payloadAt + length, content);
}

function nameOf(first: number): string {
  return opcodeNames.get(first & 15) ?? `opcode 0x${(first & 15).toString(16)}`;
}

function finish(
  { stream, bytes, start, fields, breach }: Reading,
  first: number,
  summary: string,
  wanted: number,
  content?: string,
): FrameExplanation {
  const missing = breach === undefined ? Math.max(0, wanted - bytes.length) : 0;
  const end = breach === undefined ? Math.min(wanted, bytes.length) : endOf(fields, start);
  if (breach !== undefined) stream.ending = 'the receiver has failed the connection';
  else if (missing === 0 && (first & 15) === Opcode.Close)
    stream.ending = 'nothing follows a close frame (RFC 6455 §5.5.1)';
  const size = end - start;
  return { kind: 'frame', sender: stream.sender, at: start, size, summary, fields, content, missing, breach };
}

function endOf(fields: readonly Field[], start: number): number {
  return Math.max(start + 1, ...fields.map(({ at, size }) => at + size));
}

/** Notes the first rule that the frame breaks. */
function breakRule(
  reading: Reading,
  broken: Pick<Breach, 'rule' | 'section' | 'rules'>,
  at: number,
  code: number,
): void {
  reading.breach ??= { ...broken, at, response: responseTo(code) };
}

function addBits(
  { fields, bytes }: Reading,
  name: string,
  at: number,
  [bit, bits]: readonly [number, number],
  {
    meaning,
    section,
    rules = rulesOfField(name),
    show = String,
  }: { meaning: string; section: string; rules?: readonly string[]; show?: (value: number) => string },
): void {
  const value = (bytes[at]! >>> (8 - bit - bits)) & ((1 << bits) - 1);
  fields.push({ name, at, bit, bits, size: 1, value: show(value), meaning, section, rules });
}

function addBytes(
  { fields, bytes }: Reading,
  name: string,
  at: number,
  size: number,
  {
    meaning,
    section,
    value,
    rules = rulesOfField(name),
  }: { meaning: string; section: string; value?: string; rules?: readonly string[] },
): void {
  const digitsOf = hex(bytes.subarray(at, at + size));
  fields.push({ name, at, size, value: value ?? digitsOf, hex: digitsOf, meaning, section, rules });
}

const mostShown = 16;

function hex(bytes: Buffer): string {
  return bytes.length <= mostShown
    ? bytes.toString('hex')
    : `${bytes.subarray(0, mostShown).toString('hex')}…`;
}

function readFirstByte(reading: Reading, first: number): void {
  const { stream, start } = reading;
  const opcode = first & 15;
  const isControl = opcode >= 8;
  const isFinal = first >= 0x80;
  addBits(reading, 'FIN', start, [0, 1], {
    meaning: isFinal ? 'the last frame of its message' : 'more frames of the message follow',
    section: base('5.2'),
  });
  const isCompressed = (first & 0x40) !== 0;
  addBits(reading, 'RSV1', start, [1, 1], {
    meaning: isCompressed ? 'the message is compressed' : 'the message is not compressed',
    section: deflate('6'),
  });
  for (const [name, bit] of [
    ['RSV2', 2],
    ['RSV3', 3],
  ] as const)
    addBits(reading, name, start, [bit, 1], { meaning: 'reserved for extensions', section: base('5.2') });
  addBits(reading, 'opcode', start, [4, 4], {
    meaning: opcodeMeanings.get(opcode) ?? 'reserved',
    section: base(isControl ? '5.5' : '5.2'),
    rules: rulesOfOpcode(opcode),
    show: value => `0x${value.toString(16)} ${opcodeNames.get(value) ?? ''}`.trim(),
  });

  const fail = (rule: string, section: string, ...rules: string[]) =>
    breakRule(reading, { rule, section, rules }, start, CloseCode.ProtocolError);
  if ((first & 0x30) !== 0)
    fail(
      'RSV2 and RSV3 must be 0: no extension that defines them was negotiated',
      base('5.2'),
      '5.2-2',
      '5.2-3',
    );
  if (isCompressed && stream.inflater === undefined)
    fail('RSV1 must be 0: permessage-deflate was not negotiated', base('5.2'), '5.2-2', '5.2-3', '5.8-1');
  if (!opcodeNames.has(opcode))
    fail(`the opcode 0x${opcode.toString(16)} is reserved`, base('5.2'), '5.2-4', '5.2-b');
  if (isCompressed && isControl)
    fail('a control frame must not be compressed', deflate('6.1'), '7692-6-2', '7692-6-3');
  if (isControl && !isFinal) fail('a control frame must not be fragmented', base('5.5'), '5.5-1', '5.4-2');
  if (isCompressed && opcode === Opcode.Continuation)
    fail('RSV1 may be set only in the first frame of a message', deflate('6.1'), '7692-6-2', '7692-6-3');
  if (opcode === Opcode.Continuation && stream.message === undefined)
    fail('a continuation frame needs a message to continue', base('5.4'), '5.4-a');
  if (!isControl && opcode !== Opcode.Continuation && stream.message !== undefined)
    fail('a message must be finished before the next one begins', base('5.4'), '5.4-4', '5.4-a');
}

/** The second byte and the extended length. @returns the end of the length, if it is incomplete */
function readLength(
  reading: Reading,
  first: number,
): { isMasked: boolean; length: number; end: number } | number {
  const { stream, bytes, start } = reading;
  const second = bytes[start + 1]!;
  const isMasked = second >= 0x80;
  const short = second & 0x7f;
  const isFromClient = stream.sender === 'client';
  const fail = (rule: string, section: string, at: number, ...rules: string[]) =>
    breakRule(reading, { rule, section, rules }, at, CloseCode.ProtocolError);
  addBits(reading, 'MASK', start + 1, [0, 1], {
    meaning: isMasked
      ? 'the payload is masked: only a client sends such frames'
      : 'the payload is not masked: only a server sends such frames',
    section: base('5.1'),
  });
  addBits(reading, 'Payload len', start + 1, [1, 7], {
    meaning: lengthMeanings.get(short) ?? 'bytes of payload',
    section: base('5.2'),
  });
  if (isMasked !== isFromClient)
    fail(
      isFromClient ? 'a client must mask its frames' : 'a server must not mask its frames',
      base('5.1'),
      start + 1,
      ...(isFromClient ? ['5.1-1', '5.1-2', '5.1-3'] : ['5.1-4', '5.1-5', '5.1-6']),
    );
  if ((first & 15) >= 8 && short > maxControlPayload)
    fail(
      `a control frame has at most ${maxControlPayload} bytes of payload`,
      base('5.5'),
      start + 1,
      '5.5-1',
    );
  if (short < 126) return { isMasked, length: short, end: start + 2 };

  const size = short === 126 ? 2 : 8;
  const at = start + 2;
  const present = bytes.subarray(at, Math.min(bytes.length, at + size));
  if (size === 8 && present.length > 0 && present[0]! >= 0x80)
    fail('the most significant bit of a 64-bit length must be 0', base('5.2'), at, '5.2-5');
  const fewest = 'a length must be encoded in the fewest bytes';
  // After six bytes of 0, the length is at most 65,535.
  if (size === 8 && present.length >= 6 && present.readUIntBE(0, 6) === 0)
    fail(`${fewest}: this one fits into 16 bits`, base('5.2'), at + 5, '5.2-6');
  if (size === 2 && present.length === 2 && present.readUInt16BE() < 126)
    fail(`${fewest}: this one fits into 7 bits`, base('5.2'), at + 1, '5.2-6');
  if (present.length < size) return at + size;
  const length = Number(size === 2 ? present.readUInt16BE() : present.readBigUInt64BE());
  addBytes(reading, `Extended payload length (${8 * size})`, at, size, {
    value: String(size === 2 ? length : present.readBigUInt64BE()),
    meaning: 'bytes of payload',
    section: base('5.2'),
  });
  return { isMasked, length, end: at + size };
}

function unmasked(payload: Buffer, key: Buffer): Buffer {
  if (key.length === 0) return payload;
  return Buffer.from(payload.map((byte, i) => byte ^ key[i & 3]!));
}

function explainPayload(
  reading: Reading,
  payload: Buffer,
  at: number,
  { length, isMasked, key, first }: { length: number; isMasked: boolean; key: Buffer; first: number },
): void {
  const { bytes } = reading;
  const part = payload.length < length ? `, ${payload.length} of ${length} bytes` : '';
  addBytes(reading, `Payload${isMasked ? ', masked' : ''}${part}`, at, payload.length, {
    meaning: isMasked
      ? unmasking(bytes.subarray(at, at + payload.length), key, payload)
      : meaningOf(reading, payload, first),
    section: base(isMasked ? '5.3' : '5.2'),
  });
  if (isMasked)
    addBytes(reading, 'Payload, unmasked', at, payload.length, {
      value: hex(payload),
      meaning: meaningOf(reading, payload, first),
      section: base('5.2'),
    });
}

const digits = (byte: number) => byte.toString(16).padStart(2, '0');

/** The first steps: `7f ^ 37 = 48`. */
function unmasking(masked: Buffer, key: Buffer, payload: Buffer): string {
  const steps = [...payload.subarray(0, 3)].map(
    (byte, i) => `${digits(masked[i]!)} ^ ${digits(key[i & 3]!)} = ${digits(byte)}`,
  );
  return `${steps.join(', ')}${payload.length > 3 ? ' …' : ''}`;
}

function meaningOf({ stream }: Reading, payload: Buffer, first: number): string {
  const opcode = first & 15;
  const isCompressed = opcode === Opcode.Continuation ? stream.message?.isCompressed : (first & 0x40) !== 0;
  if (isCompressed === true) return 'DEFLATE data';
  const kind = opcode === Opcode.Continuation ? stream.message?.opcode : opcode;
  if (kind === Opcode.Text) return quote(payload);
  if (kind === Opcode.Close) return 'code and reason';
  return kind === Opcode.Binary ? 'binary data' : 'application data of the control frame';
}

/** The text in quotes, cut at 60 characters. */
function quote(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return text.length <= 60 ? printableJson(text) : `${printableJson(text.slice(0, 60))} …`;
}

/** Checks the payload by its opcode. @returns the content of a control frame, or of the message that the frame completes */
function checkContent(
  reading: Reading,
  payload: Buffer,
  at: number,
  { first, isWhole }: { first: number; isWhole: boolean },
): string | undefined {
  const { stream } = reading;
  const opcode = first & 15;
  if (opcode === Opcode.Close) return checkClose(reading, payload, at, isWhole);
  if (opcode >= 8) return isWhole ? shownBytes(payload) : undefined;
  const before = opcode === Opcode.Continuation ? stream.message : undefined;
  const { opcode: kind, isCompressed } = before ?? { opcode, isCompressed: (first & 0x40) !== 0 };
  const utf8 = before?.utf8 ?? utf8Start;
  const isPlainText = kind === Opcode.Text && !isCompressed;
  const message: UnfinishedMessage = {
    ...{ opcode: kind, isCompressed, payload, before },
    utf8: isPlainText ? checkText(reading, utf8, payload, at) : utf8,
  };
  stream.message = message;
  if (!isWhole || first < 0x80 || reading.breach !== undefined) return undefined;
  stream.message = undefined;
  return completeMessage(reading, message, at + payload.length - 1);
}

/** RFC 6455 §8.1. @returns the next state of the check */
function checkText(reading: Reading, before: number, payload: Buffer, at: number): number {
  const { state, invalid } = checkBytes(before, payload);
  if (invalid !== undefined) {
    const rule = `a text must be UTF-8: the byte ${digits(payload[invalid]!)} is invalid here`;
    const broken = { rule, section: base('8.1'), rules: ['8.1-1', '5.6-1'] };
    breakRule(reading, broken, at + invalid, CloseCode.InvalidPayload);
  }
  return state;
}

/** @returns the state after the bytes, and the index of the first invalid one */
function checkBytes(before: number, bytes: Buffer): { state: number; invalid: number | undefined } {
  let state = checkUtf8(before, bytes, 0, bytes.length);
  if (state !== utf8Invalid) return { state, invalid: undefined };
  let invalid = -1;
  for (state = before; state !== utf8Invalid; ) {
    invalid++;
    state = checkUtf8(state, bytes, invalid, invalid + 1);
  }
  return { state, invalid };
}

function wholePayload(message: UnfinishedMessage): Buffer {
  const pieces: Buffer[] = [];
  for (let one: UnfinishedMessage | undefined = message; one !== undefined; one = one.before)
    pieces.push(one.payload);
  return Buffer.concat(pieces.reverse());
}

function completeMessage(reading: Reading, message: UnfinishedMessage, last: number): string | undefined {
  const whole = wholePayload(message);
  const isText = message.opcode === Opcode.Text;
  const fail = (rule: string, section: string, ...rules: string[]) =>
    breakRule(reading, { rule, section, rules }, last, CloseCode.InvalidPayload);
  if (!message.isCompressed) {
    if (isText && message.utf8 !== utf8Start)
      fail('a text must not end inside a character', base('8.1'), '8.1-1', '5.6-1');
    return `${isText ? 'text' : 'binary'} message: ${isText ? quote(whole) : shownBytes(whole)}`;
  }
  const inflated = inflate(reading.stream, whole);
  if (typeof inflated === 'string') {
    fail(inflated, deflate('7.2.2'), '7692-7.2.2-1');
    return undefined;
  }
  if (isText && checkUtf8(utf8Start, inflated, 0, inflated.length) !== utf8Start)
    fail('an inflated text must be UTF-8', base('8.1'), '8.1-1', '7692-6.2-3');
  const sizes = `${whole.length} bytes of DEFLATE data, ${inflated.length} inflated (RFC 7692 §7.2.2: the receiver appends 0000ffff first)`;
  return `${isText ? 'text' : 'binary'} message, ${sizes}: ${isText ? quote(inflated) : shownBytes(inflated)}`;
}

/** @returns the message, or a sentence if it is not valid */
function inflate({ inflater, inflated }: FrameStream, whole: Buffer): Buffer | string {
  if (inflated !== undefined) return inflated;
  if (inflater === undefined) return 'permessage-deflate was not negotiated';
  try {
    return inflateMessage(inflater, whole, maxInflated);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return error.code === CloseCode.MessageTooBig
      ? `the message inflates to more than ${maxInflated} bytes`
      : 'the data of a compressed message must be valid DEFLATE data';
  }
}

function shownBytes(bytes: Buffer): string {
  return bytes.length === 0 ? 'empty' : hex(bytes);
}

function checkClose(reading: Reading, payload: Buffer, at: number, isWhole: boolean): string | undefined {
  if (payload.length === 0) return isWhole ? 'no code: the receiver reports 1005' : undefined;
  const { start } = reading;
  const length = reading.bytes[start + 1]! & 0x7f;
  if (length === 1) {
    breakRule(
      reading,
      {
        rule: 'the payload of a close frame must be empty or begin with a code of 2 bytes',
        section: base('5.5.1'),
        rules: ['5.5.1-2'],
      },
      start + 1,
      CloseCode.ProtocolError,
    );
    return undefined;
  }
  if (payload.length < 2) return undefined;
  const code = payload.readUInt16BE();
  const meaning = meaningOfCode(code);
  addBytes(reading, 'Close code', at, 2, {
    value: String(code),
    meaning,
    section: base('7.4'),
    rules: ['5.5.1-2', ...rulesOfCode(code)],
  });
  if (!isSendableCloseCode(code))
    breakRule(
      reading,
      {
        rule: `the close code ${code} must not be sent`,
        section: base(code < 1000 || code > 1015 ? '7.4.2' : '7.4.1'),
        rules: rulesOfCode(code),
      },
      at + 1,
      CloseCode.ProtocolError,
    );
  const reason = payload.subarray(2);
  if (reason.length > 0)
    addBytes(reading, 'Reason', at + 2, reason.length, {
      value: quote(reason),
      meaning: 'for people and logs',
      section: base('7.1.6'),
    });
  const { state, invalid } = checkBytes(utf8Start, reason);
  if (invalid !== undefined)
    breakRule(
      reading,
      { rule: 'the reason must be UTF-8', section: base('5.5.1'), rules: reasonRules },
      at + 2 + invalid,
      CloseCode.InvalidPayload,
    );
  else if (isWhole && state !== utf8Start)
    breakRule(
      reading,
      { rule: 'the reason must not end inside a character', section: base('5.5.1'), rules: reasonRules },
      at + payload.length - 1,
      CloseCode.InvalidPayload,
    );
  return isWhole && reading.breach === undefined
    ? `${code} (${meaning})${reason.length > 0 ? ` ${quote(reason)}` : ''}; the receiver answers with a close frame`
    : undefined;
}
