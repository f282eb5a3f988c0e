/** What `--verbose` shows of a connection: the handshake's lines, and a line for each frame's header. */
import { Buffer } from 'node:buffer';
import { ProtocolError } from '../protocol/codes.ts';
import { maxFrameHeader } from '../protocol/limits.ts';
import { type FrameHeader, newFrameHeader, readFrameHeader } from '../protocol/websocket/frame.ts';

/** Which way: `>` is ours, `<` the server's, as curl has it. */
export type Direction = '>' | '<';

const names: Readonly<Record<number, string>> = {
  0: 'continuation',
  1: 'text',
  2: 'binary',
  8: 'close',
  9: 'ping',
  10: 'pong',
};

export function showFrame(direction: Direction, header: Omit<FrameHeader, 'key'>): string {
  const { opcode, length, fin, rsv1 } = header;
  const marks = `${rsv1 ? ', compressed' : ''}${fin ? '' : ', more follows'}`;
  return `${direction} ${names[opcode] ?? opcode}, ${length} bytes${marks}`;
}

export function showHead(direction: Direction, head: Buffer): string[] {
  const lines = head.toString('latin1').trimEnd().split('\r\n');
  return lines.map(line => `${direction} ${line}`);
}

/** Follows the frames in a stream of bytes from a server, whatever pieces that comes in. */
export interface FrameTrace {
  readonly header: FrameHeader;
  /** The beginning of a header. */
  rest: Buffer;
  /** Bytes of payload until the next header. */
  missing: number;
}

export function newFrameTrace(): FrameTrace {
  return { header: newFrameHeader(), rest: Buffer.alloc(0), missing: 0 };
}

/** @returns a line for each frame that begins in `piece`, up to one that is not valid: the endpoint tells of that. */
export function traceFrames(trace: FrameTrace, piece: Buffer): string[] {
  const lines: string[] = [];
  const bytes = trace.rest.length === 0 ? piece : Buffer.concat([trace.rest, piece]);
  let at = 0;
  try {
    for (;;) {
      const skipped = Math.min(trace.missing, bytes.length - at);
      trace.missing -= skipped;
      at += skipped;
      const size = readFrameHeader(trace.header, { bytes, start: at, end: bytes.length }, 'client', true);
      if (size === 0) break;
      lines.push(showFrame('<', trace.header));
      at += size;
      trace.missing = trace.header.length;
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    at = bytes.length;
  }
  trace.rest = Buffer.from(bytes.subarray(at, Math.min(bytes.length, at + maxFrameHeader)));
  return lines;
}
