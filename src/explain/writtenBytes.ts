/**
 * Describes the bytes that a server wrote to a socket. Faults cut, change and add bytes, so a write may have parts of frames and
 * invalid ones. The description names the frames that begin in the write:
 *
 *     81           the first byte of a frame
 *     0568656c6c6f text, 5 bytes: "hello" [final]
 */
import { Buffer } from 'node:buffer';
import { countBytes, frameLine } from './frameLine.ts';
import { readLength } from './frameLines.ts';
import { longestHeader, looseHeader, unmaskLoosely } from './rawBytes.ts';

/** The position in the output. */
export interface WrittenStream {
  /** The head of the response has not ended. */
  isHead: boolean;
  /** The first bytes of a frame's header, or the last ones of the head so far. */
  before: Buffer;
  /** Bytes of the current frame's payload that have not been written. */
  rest: number;
}

/** @param isHead the output begins with the head of a response */
export function newWrittenStream(isHead: boolean): WrittenStream {
  return { isHead, before: nothing, rest: 0 };
}

const nothing = Buffer.alloc(0);

/** Frames of one write that a description names. */
const describedFrames = 4;

/** @returns the number of bytes at the start of this write that belong to the head of the response */
export function skipHead(stream: WrittenStream, bytes: Buffer): number {
  if (!stream.isHead) return 0;
  const known = Buffer.concat([stream.before, bytes]);
  const end = known.indexOf('\r\n\r\n');
  stream.isHead = end < 0;
  const size = end < 0 ? bytes.length : end + 4 - stream.before.length;
  stream.before = end < 0 ? Buffer.from(known.subarray(-3)) : nothing;
  return size;
}

/**
 * @param bytes one write of frames; they do not change
 * @param isNegotiated whether permessage-deflate was negotiated: it defines RSV1
 */
export function describeWrite(stream: WrittenStream, bytes: Buffer, isNegotiated: boolean): string {
  const described: string[] = [];
  let frames = 0;
  let at = 0;
  while (at < bytes.length) {
    if (stream.rest > 0) {
      const used = Math.min(stream.rest, bytes.length - at);
      if (frames === 0) described.push(`${countBytes(used)} of the payload`);
      stream.rest -= used;
      at += used;
      continue;
    }
    const known = stream.before.length;
    const header = Buffer.concat([stream.before, bytes.subarray(at, at + longestHeader - known)]);
    const parsed = looseHeader(header);
    if (parsed === undefined) {
      stream.before = header;
      described.push(header.length === 1 ? 'the first byte of a frame' : 'a part of the header of a frame');
      break;
    }
    stream.before = nothing;
    const { size, length, key } = parsed;
    at += size - known;
    stream.rest = length;
    if (frames++ < describedFrames) {
      const head = unmaskLoosely(Buffer.from(bytes.subarray(at, at + Math.min(length, readLength))), key);
      const frame = { direction: '>', first: header[0]!, isMasked: key !== undefined, length, head } as const;
      described.push(frameLine(frame, isNegotiated ? {} : { isCompressed: false }).slice(2));
    } else if (frames === describedFrames + 1) described.push('…');
    const used = Math.min(length, bytes.length - at);
    stream.rest -= used;
    at += used;
  }
  return described.join('; ');
}
