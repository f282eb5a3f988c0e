/** Writes the tester's frames, the invalid ones too. A tester in a client's role masks them (RFC 6455 §5.3). */
import { Buffer } from 'node:buffer';
import { randomInt } from 'node:crypto';
import { Opcode, type Role } from '../protocol/codes.ts';
import { encodeAnyFrame } from '../protocol/websocket/anyFrame.ts';
import { type DeflateContext, deflateMessage } from '../protocol/websocket/deflate.ts';
import { FIN, RSV1, writeFrameHeader } from '../protocol/websocket/frame.ts';
import { advanceKey, unmask } from '../protocol/websocket/mask.ts';
import type { FrameStep, HeadStep, OutgoingData } from './case.ts';

export interface FrameWriter {
  readonly masks: boolean;
  readonly deflater: DeflateContext | undefined;
  /** The masking key for the rest of the frame that `headOf` began, rotated to its next byte. */
  key: number;
}

export function newFrameWriter(role: Role, deflater: DeflateContext | undefined): FrameWriter {
  return { masks: role === 'client', deflater, key: 0 };
}

const freshKey = () => randomInt(1, 2 ** 32) | 0;

/** @returns the frame, in the step's chops */
export function frameOf(writer: FrameWriter, step: FrameStep): Buffer[] {
  const { fin, rsv, opcode, payload, chop, form = {} } = step;
  const first = (fin ? FIN : 0) | (rsv << 4) | opcode;
  const isMasked = writer.masks !== (form.isMaskWrong === true);
  const key = isMasked ? freshKey() : undefined;
  const { announced, lengthBytes } = form;
  const frame = encodeAnyFrame({ first, payload, key, announced, lengthBytes });
  return chop === undefined ? [frame] : chopped(frame, chop);
}

function header(first: number, length: number, key: number | undefined): Buffer {
  const head = Buffer.alloc(14);
  return head.subarray(0, writeFrameHeader(head, 0, first, length, key));
}

/** The bytes in pieces of this size. */
export function chopped(bytes: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

export function headOf(writer: FrameWriter, { opcode, fin, length }: HeadStep): Buffer {
  writer.key = writer.masks ? freshKey() : 0;
  return header((fin ? FIN : 0) | opcode, length, writer.masks ? writer.key : undefined);
}

export function dataOf(writer: FrameWriter, payload: Buffer): Buffer {
  const bytes = Buffer.from(payload);
  if (writer.masks) {
    unmask(bytes, 0, bytes.length, writer.key);
    writer.key = advanceKey(writer.key, bytes.length);
  }
  return bytes;
}

/** A message in frames of at most `fragment` bytes. */
export function framesOf(writer: FrameWriter, { isText, payload, fragment }: OutgoingData): Buffer[] {
  const { deflater } = writer;
  const bytes = deflater === undefined ? payload : deflateMessage(deflater, payload, 0, payload.length);
  const size = fragment ?? Math.max(1, bytes.length);
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += size) {
    const isFirst = at === 0;
    frames.push(
      ...frameOf(writer, {
        do: 'frame',
        opcode: isFirst ? (isText ? Opcode.Text : Opcode.Binary) : Opcode.Continuation,
        payload: Buffer.from(bytes.subarray(at, at + size)),
        fin: at + size >= bytes.length,
        rsv: isFirst && deflater !== undefined ? RSV1 >> 4 : 0,
      }),
    );
  }
  return frames;
}

function controlFrame(writer: FrameWriter, opcode: number, payload: Buffer): Buffer {
  return Buffer.concat(frameOf(writer, { do: 'frame', opcode, payload, fin: true, rsv: 0 }));
}

export const pongFrameOf = (writer: FrameWriter, payload: Buffer) =>
  controlFrame(writer, Opcode.Pong, payload);
export const closeFrameOf = (writer: FrameWriter, payload: Buffer) =>
  controlFrame(writer, Opcode.Close, payload);
