/** Random sessions: what a peer might send, and the events that must follow, by much simpler rules than the server's. */
import { constants, deflateRawSync } from 'node:zlib';
import { type EndpointSetup, showBytes, showClose } from '../support/endpointRun.ts';
import type { Random } from '../support/random.ts';
import { closePayload, type FrameOptions, frame, opcode } from '../support/rawFrame.ts';
import { newZlibPeer } from '../support/zlibPeer.ts';

export interface MadeSession {
  readonly setup: EndpointSetup;
  readonly input: Buffer;
  /** As in the corpus: an event that ends with an open quote stands for any reason except an empty one. */
  readonly expected: readonly string[];
}

export const maxMessage = 70_000;

export async function makeSession(random: Random): Promise<MadeSession> {
  const setup: EndpointSetup = {
    role: random.pick(['server', 'server', 'client']),
    maxMessage,
    compression: random.pick(['off', 'on', 'takeover']),
    closesOnMessage: random.oneIn(20),
  };
  const pieces: Buffer[] = [];
  const expected: string[] = [];
  let isClosing = false;
  const keyOf = () => (setup.role === 'client' ? null : random.oneIn(10) ? Buffer.alloc(4) : random.bytes(4));
  const put = (kind: number, payload: Buffer, options: FrameOptions = {}) =>
    pieces.push(frame(kind, payload, { key: keyOf(), ...options }));
  const putControl = () => {
    const payload = random.bytes(random.pick([0, 1, 5, 125]));
    const isPing = random.oneIn(2);
    put(isPing ? opcode.ping : opcode.pong, payload);
    if (!isPing) expected.push(`pong ${showBytes(payload)}`);
    else if (!isClosing) expected.push(`sends pong ${showBytes(payload)}`);
  };

  const compress =
    setup.compression === 'off' ? undefined : newCompressor(random, setup.compression === 'takeover');
  for (let left = 1 + random.below(10); left > 0; left--) {
    if (random.oneIn(4)) putControl();
    const isText = random.oneIn(2);
    const plain = isText ? makeText(random, lengthOf(random)) : makeBinary(random, lengthOf(random));
    const isCompressed = compress !== undefined && !random.oneIn(3);
    const payload = isCompressed ? await compress.message(plain) : plain;
    if (payload.length > maxMessage) continue;
    const parts = split(random, payload);
    for (const [index, part] of parts.entries()) {
      const kind = index > 0 ? opcode.continuation : isText ? opcode.text : opcode.binary;
      put(kind, part, { fin: index === parts.length - 1, rsv: isCompressed && index === 0 ? 4 : 0 });
      if (index < parts.length - 1 && random.oneIn(3)) putControl();
    }
    if (isClosing) continue;
    expected.push(`${isText ? 'text' : 'binary'} ${showBytes(plain)}`);
    if (setup.closesOnMessage) {
      isClosing = true;
      expected.push('sends close 1001 "going"');
    }
  }
  compress?.close();

  const ending = random.pick(['close', 'fault', 'none']);
  if (ending === 'close') {
    const payload = random.oneIn(4) ? Buffer.alloc(0) : makeClose(random);
    put(opcode.close, payload);
    if (!isClosing) expected.push(`sends close ${showClose(payload.subarray(0, 2))}`);
    expected.push(`closed ${showClose(payload)}`);
    if (random.oneIn(2)) pieces.push(random.bytes(random.below(50)));
  } else if (ending === 'fault') {
    const [code, bytes] = makeFault(random, setup);
    pieces.push(bytes);
    if (!isClosing) expected.push(`sends close ${code} "`);
    expected.push(`closed ${code} "`);
    if (random.oneIn(2)) pieces.push(random.bytes(random.below(50)));
  }
  return { setup, input: Buffer.concat(pieces), expected };
}

/** The peer's compression: one zlib stream with context takeover, otherwise sometimes several streams a message. */
function newCompressor(random: Random, keepsContext: boolean) {
  const peer = keepsContext ? newZlibPeer() : undefined;
  const flushed = (plain: Buffer) =>
    deflateRawSync(plain, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
  return {
    async message(plain: Buffer): Promise<Buffer> {
      if (peer !== undefined) return peer.compress(plain);
      if (!random.oneIn(4)) return flushed(plain);
      const cut = random.below(plain.length + 1);
      return Buffer.concat([deflateRawSync(plain.subarray(0, cut)), flushed(plain.subarray(cut))]);
    },
    close: () => peer?.close(),
  };
}

function lengthOf(random: Random): number {
  if (random.oneIn(40)) return random.pick([65_535, 65_536, 66_000]);
  if (random.oneIn(6)) return 120 + random.below(12);
  return random.oneIn(6) ? random.below(3000) : random.below(60);
}

function makeBinary(random: Random, length: number): Buffer {
  return random.oneIn(3) ? Buffer.alloc(length, random.below(256)) : random.bytes(length);
}

/** UTF-8 of at most `length` bytes, of characters of all sizes. */
function makeText(random: Random, length: number): Buffer {
  const isAscii = random.oneIn(2);
  let text = '';
  for (let size = 0; ; ) {
    const bound = isAscii ? 0x80 : random.pick([0x80, 0x800, 0xd800, 0x110000]);
    const code = random.below(bound);
    const character = String.fromCodePoint(code >= 0xd800 && code < 0xe000 ? 0x20ac : code);
    size += Buffer.byteLength(character);
    if (size > length) return Buffer.from(text);
    text += character;
  }
}

function makeClose(random: Random): Buffer {
  const code = random.pick([1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999]);
  return closePayload(code, makeText(random, random.pick([0, 5, 60, 123])));
}

function split(random: Random, payload: Buffer): Buffer[] {
  const count = random.oneIn(2) ? 0 : random.below(6);
  const cuts = Array.from({ length: count }, () => random.below(payload.length + 1)).sort((a, b) => a - b);
  return [0, ...cuts].map((from, index) => payload.subarray(from, cuts[index] ?? payload.length));
}

/** A frame that violates the protocol, and the close code with which the connection must be failed. */
function makeFault(random: Random, { role, compression }: EndpointSetup): [code: number, bytes: Buffer] {
  const key = role === 'server' ? random.bytes(4) : null;
  const badText = Buffer.from(random.pick(['ff', 'c328', 'eda080', 'c3', 'f09f90', 'f4908080']), 'hex');
  return random.pick<[number, Buffer]>([
    [1002, frame(opcode.text, 'x', { key, rsv: random.pick([1, 2, 3, 5, 6, 7]) })],
    [1002, frame(opcode.ping, 'x', { key, rsv: 4 })],
    [compression === 'off' ? 1002 : 1007, frame(opcode.binary, Buffer.of(0xff, 0xff, 0xff), { key, rsv: 4 })],
    [1002, frame(random.pick([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), 'x', { key })],
    [1002, frame(opcode.binary, 'x', { key: role === 'server' ? null : random.bytes(4) })],
    [1002, frame(opcode.continuation, 'x', { key, fin: random.oneIn(2) })],
    [1002, frame(random.pick([8, 9, 10]), '', { key, fin: false })],
    [1002, frame(random.pick([8, 9, 10]), Buffer.alloc(126), { key })],
    [1002, frame(opcode.binary, 'x', { key, lengthBytes: random.pick([2, 8]) })],
    [
      1002,
      frame(opcode.close, closePayload(random.pick([0, 999, 1004, 1005, 1006, 1015, 2000, 5000])), { key }),
    ],
    [1002, frame(opcode.close, 'x', { key })],
    [1007, frame(opcode.close, closePayload(1000, badText), { key })],
    [1007, frame(opcode.text, Buffer.concat([makeText(random, 100), badText]), { key })],
    [1009, frame(opcode.binary, '', { key, announcedLength: maxMessage + 1 + random.below(2 ** 40) })],
  ]);
}

/** @returns the bytes with random mutations */
export function mutate(random: Random, input: Buffer, other: Buffer): Buffer {
  let bytes = Buffer.from(input);
  for (let left = 1 + random.below(4); left > 0 && bytes.length > 0; left--) {
    const at = random.below(bytes.length);
    const behind = at + random.below(Math.min(200, bytes.length - at + 1));
    switch (random.below(7)) {
      case 0:
        bytes[at]! ^= 1 << random.below(8);
        break;
      case 1:
        bytes[at] = random.pick([0, 1, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0xfe, 0xff]);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(behind)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, behind), bytes.subarray(at)]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.length + 1))]);
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), random.bytes(random.below(20)), bytes.subarray(at)]);
        break;
      default:
        tamperWithLength(random, bytes, at);
    }
  }
  return bytes;
}

/** Changes the length behind the next byte that looks like the first byte of a frame. */
function tamperWithLength(random: Random, bytes: Buffer, from: number): void {
  for (let at = from; at < bytes.length - 1; at++) {
    const opcode = bytes[at]! & 0x7f;
    if (opcode > 2 && (opcode < 8 || opcode > 10)) continue;
    bytes[at + 1] = (bytes[at + 1]! & 0x80) | random.pick([0, 1, 125, 126, 127, random.below(128)]);
    return;
  }
}
