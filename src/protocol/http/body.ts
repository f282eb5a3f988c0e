/** Bodies of HTTP requests (RFC 9112 §6, §7.1), with a length or in chunks, as pure code. */
import { Buffer } from 'node:buffer';
import { enlarge, minLongBuffer } from '../buffers.ts';
import { ProtocolError } from '../codes.ts';
import { maxChunkExtensions, maxChunkLine, maxFrameHeader, maxTrailerFields } from '../limits.ts';
import type { Head } from './head.ts';

export interface Body {
  /** Maximum length of the content, in bytes. */
  readonly limit: number;
  readonly isChunked: boolean;
  /**
   * A copy of the content so far: `bodyRoom` free bytes, then `size` bytes. It grows with the content, not with the announced
   * length.
   */
  content: Buffer;
  size: number;
  /** Bytes still missing, of the body or of the current chunk. */
  missing: number;
  /** The part of a chunked body to read next. */
  part: 'size' | 'content' | 'line end' | 'trailer';
  /** Bytes of chunk extensions read. */
  extensions: number;
  /** The number of trailer fields read. */
  trailerFields: number;
  isWhole: boolean;
}

/** Free bytes before the content, for the header of a frame: a long body becomes a message without a copy. */
const bodyRoom = maxFrameHeader;

/**
 * @param limit maximum length of the content, in bytes
 * @throws ProtocolError 413 if the head announces more
 */
export function newBody({ bodyLength }: Head, limit: number): Body {
  const isChunked = bodyLength === Number.POSITIVE_INFINITY;
  if (!isChunked && bodyLength > limit) throw tooLarge(limit);
  return {
    limit,
    isChunked,
    content: Buffer.alloc(0),
    size: 0,
    missing: isChunked ? 0 : bodyLength,
    part: 'size',
    extensions: 0,
    trailerFields: 0,
    isWhole: bodyLength === 0,
  };
}

function tooLarge(limit: number): ProtocolError {
  return new ProtocolError(413, `the body is longer than ${limit} bytes`);
}

/**
 * Reads more of the body from `bytes[start, end)` and copies its content.
 * @param mayGoOn is called after each line between chunks, because tiny chunks mean many lines
 * @returns where it stopped: after the body if `isWhole`, else before an incomplete line, or where `mayGoOn` returned false
 * @throws ProtocolError 400 or 413
 */
export function readBody(
  body: Body,
  bytes: Buffer,
  start: number,
  end: number,
  mayGoOn: () => boolean = () => true,
): number {
  let at = start;
  while (at < end && !body.isWhole) {
    if (!body.isChunked) {
      at = takeContent(body, bytes, at, end);
      body.isWhole = body.missing === 0;
    } else if (body.part === 'content') {
      at = takeContent(body, bytes, at, end);
      if (body.missing === 0) body.part = 'line end';
    } else {
      const lineEnd = findLineEnd(bytes, at, Math.min(end, at + maxChunkLine));
      if (lineEnd < 0 && end - at < maxChunkLine) return at;
      if (lineEnd < 0) throw new ProtocolError(400, 'a line between the chunks of the body is too long');
      takeLine(body, at === lineEnd ? '' : bytes.toString('latin1', at, lineEnd));
      at = lineEnd + 2;
      if (!mayGoOn()) return at;
    }
  }
  return at;
}

/** The index of CRLF, or -1. Lines are short, so this allocates nothing. */
function findLineEnd(bytes: Buffer, start: number, end: number): number {
  for (let at = start + 1; at < end; at++) if (bytes[at] === LF && bytes[at - 1] === CR) return at - 1;
  return -1;
}

const CR = 0x0d;
const LF = 0x0a;

function takeContent(body: Body, bytes: Buffer, at: number, end: number): number {
  const next = Math.min(end, at + body.missing);
  const used = bodyRoom + body.size;
  const needed = used + next - at;
  if (needed > body.content.length) {
    body.content = enlarge(body.content, used, Math.max(needed, Math.min(2 * needed, minLongBuffer - 1)));
  }
  bytes.copy(body.content, used, at, next);
  body.missing -= next - at;
  body.size += next - at;
  return next;
}

function takeLine(body: Body, line: string): void {
  if (body.part === 'size') {
    // RFC 9112 §7.1.1: a recipient ignores unknown chunk extensions, which follow a semicolon.
    const [, digits] = /^([\da-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line) ?? [];
    if (digits === undefined) throw new ProtocolError(400, 'a chunk size is not a number');
    body.extensions += line.length - digits.length;
    if (body.extensions > maxChunkExtensions)
      throw new ProtocolError(
        413,
        `the chunks of the body have more than ${maxChunkExtensions} bytes of extensions`,
      );
    body.missing = Number.parseInt(digits, 16);
    if (body.size + body.missing > body.limit) throw tooLarge(body.limit);
    body.part = body.missing === 0 ? 'trailer' : 'content';
  } else if (body.part === 'line end') {
    if (line !== '') throw new ProtocolError(400, 'a chunk is longer than its size says');
    body.part = 'size';
  } else if (line === '') {
    body.isWhole = true;
  } else if (++body.trailerFields > maxTrailerFields) {
    // RFC 9112 §7.1.2: trailer fields may be discarded.
    throw new ProtocolError(431, `more than ${maxTrailerFields} trailer fields`);
  }
}

/** @returns the bytes that have not arrived yet; infinite if more chunks may follow */
export function restOfBody({ isChunked, isWhole, missing }: Body): number {
  return isChunked && !isWhole ? Number.POSITIVE_INFINITY : missing;
}

/** The content of a complete body. If it is not empty, `maxFrameHeader` bytes before it are free, too. */
export function bodyContent({ content, size }: Body): Buffer {
  return content.subarray(bodyRoom, bodyRoom + size);
}
