/** Explains the bytes of one or both ends of a connection: handshakes, then frames. */
import { Buffer } from 'node:buffer';
import { ProtocolError, type Role } from '../protocol/codes.ts';
import { newContextOf } from '../protocol/websocket/deflate.ts';
import {
  acceptDeflateResponse,
  type DeflateParameters,
  parseExtensions,
} from '../protocol/websocket/extensions.ts';
import { explainFrame, type FrameStream, newFrameStream } from './frames.ts';
import {
  beginsHandshake,
  explainHandshake,
  extensionsOf,
  hasHeadEnd,
  requestOf,
  type UpgradeRequest,
} from './handshake.ts';
import type { Explanation, HandshakeExplanation } from './records.ts';

/** Some bytes of one sender. A list has the bytes of both senders in order. */
export interface SentBytes {
  readonly sender: Role;
  readonly bytes: Buffer;
}

export interface ExplainSettings {
  /** permessage-deflate was negotiated before the first byte of the input. */
  readonly isCompressed: boolean;
}

/** A small file can have millions of frames, and their explanations would take gigabytes of memory. */
const maxExplanations = 50_000;

interface Side {
  readonly sender: Role;
  /** All input of the sender. */
  readonly input: Buffer;
  /** The part of `input` that has arrived, and how much of it is explained. */
  bytes: Buffer;
  at: number;
  /** The size of input at which the next frame can be complete. */
  needed: number;
  /** The search for the end of a handshake has reached this index. */
  searched: number;
  frames: FrameStream | undefined;
}

/** Without a handshake, both ends may keep their context and use the largest window. */
const usualParameters: DeflateParameters = {
  serverNoContextTakeover: false,
  clientNoContextTakeover: false,
  serverMaxWindowBits: 15,
  clientMaxWindowBits: 15,
};

/** @returns the explanations of handshakes and frames, ordered by their last bytes */
export function explain(chunks: readonly SentBytes[], { isCompressed }: ExplainSettings): Explanation[] {
  const newSide = (sender: Role): Side => {
    const input = Buffer.concat(chunks.filter(chunk => chunk.sender === sender).map(({ bytes }) => bytes));
    return { sender, input, bytes: input.subarray(0, 0), at: 0, needed: 0, searched: 0, frames: undefined };
  };
  const sides = { client: newSide('client'), server: newSide('server') };
  const all: Explanation[] = [];
  let request: UpgradeRequest | undefined;
  let parameters = isCompressed ? usualParameters : undefined;

  /** Explains the next frame or handshake if it is complete or the input has ended. @returns whether there was one */
  function step(side: Side, isLast: boolean): boolean {
    const { sender, bytes, at } = side;
    if (at >= bytes.length) return false;
    if (all.length >= maxExplanations) {
      if (isLast)
        ignoreRest(side, `explain stops after ${maxExplanations} frames; explain a part of the bytes`);
      return false;
    }
    if (side.frames === undefined && at === 0 && beginsHandshake(bytes, at) !== undefined) {
      const { searched } = side;
      side.searched = bytes.length;
      if (!isLast && !hasHeadEnd(bytes, at, searched)) return false;
      const handshake = explainHandshake(bytes, at, sender, request);
      if (handshake.missing > 0 && !isLast) return false;
      if (sender === 'client') request = requestOf(bytes, handshake);
      else parameters = agreedParameters(handshake) ?? parameters;
      all.push(handshake);
      side.at += handshake.size;
      // After a refusal, the rest is HTTP.
      if (handshake.missing === 0 && handshake.breaches.length > 0)
        ignoreRest(side, 'no WebSocket was opened');
      return true;
    }
    side.frames ??= newFrameStream(sender, newContextOf(parameters, sender));
    if (side.frames.ending !== undefined) {
      if (!isLast) return false;
      ignoreRest(side, side.frames.ending);
      return true;
    }
    const { message } = side.frames;
    const frame = explainFrame(side.frames, bytes, at);
    if (frame.missing > 0 && !isLast) {
      side.frames.message = message;
      side.needed = bytes.length + frame.missing;
      return false;
    }
    all.push(frame);
    side.at += frame.size;
    return true;
  }

  function ignoreRest(side: Side, why: string): void {
    const size = side.bytes.length - side.at;
    if (size > 0) all.push({ kind: 'ignored', sender: side.sender, at: side.at, size, why });
    side.at = side.bytes.length;
  }

  for (const { sender, bytes } of chunks) {
    const side = sides[sender];
    side.bytes = side.input.subarray(0, side.bytes.length + bytes.length);
    if (side.bytes.length >= side.needed) while (step(side, false));
  }
  for (const side of [sides.client, sides.server]) while (step(side, true));
  return all;
}

/** The compression in a server's response; undefined without compression, or if a client would refuse the response. */
function agreedParameters(handshake: HandshakeExplanation): DeflateParameters | undefined {
  const extensions = extensionsOf(handshake);
  if (extensions === undefined || handshake.breaches.length > 0) return undefined;
  try {
    return acceptDeflateResponse(parseExtensions(extensions, 1002), 'takeover');
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return undefined;
  }
}
