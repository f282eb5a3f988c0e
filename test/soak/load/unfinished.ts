/** Messages that never end: in one frame, in fragments, compressed. Each client holds as much as the limits allow. */
import { setTimeout as wait } from 'node:timers/promises';
import { frame, opcode } from '../../support/rawFrame.ts';
import { binaryFrame, compressed, deflated, deflateHeaders, KiB, MiB, maxMessage } from './frames.ts';
import { type Load, repeat } from './load.ts';
import { openPeer } from './peer.ts';

interface Kind {
  readonly headers: Readonly<Record<string, string>>;
  readonly first: Buffer;
  /** How many times it is sent after the first frame. */
  readonly next: Buffer;
  readonly times: number;
}

const continuation = (payload: Uint8Array) =>
  frame(opcode.continuation, payload, { fin: false, key: Buffer.alloc(4, 7) });

/** Consecutive fragments with 64 KiB of payload. */
const fragments = (size: number) => {
  const one = continuation(Buffer.alloc(size, 'x'));
  return Buffer.alloc((64 * KiB * one.length) / size, one);
};

/** Random bytes do not compress; zeros compress a thousandfold. */
const noise = Buffer.from(
  Array.from({ length: 64 * KiB }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 0xff),
);

const kinds: readonly Kind[] = [
  {
    headers: {},
    first: binaryFrame(Buffer.alloc(64 * KiB), { announcedLength: maxMessage, lengthBytes: 8 }),
    next: Buffer.alloc(64 * KiB, 'x'),
    times: 254,
  },
  {
    headers: {},
    first: binaryFrame(Buffer.from('x'), { fin: false }),
    next: fragments(64),
    times: 255,
  },
  {
    headers: {},
    first: binaryFrame(Buffer.from('x'), { fin: false }),
    next: fragments(16 * KiB),
    times: 255,
  },
  {
    headers: deflateHeaders,
    first: binaryFrame(deflated(noise), { ...compressed, fin: false }),
    next: continuation(deflated(noise)),
    times: 254,
  },
  {
    headers: deflateHeaders,
    first: binaryFrame(deflated(noise), { ...compressed, fin: false }),
    next: continuation(deflated(Buffer.alloc(MiB))),
    times: 14,
  },
];

/** The first frame of a message of the largest size. */
const parts = [1, 0.7, 0.2, 1, 0.4, 0.1];

export const unfinished: Load = {
  name: 'unfinished messages',
  unit: 'messages',
  run: (target, counts) =>
    repeat(30, 300, async (index, round) => {
      const { headers, first, next, times: most } = kinds[(index + round) % kinds.length]!;
      const times = Math.ceil(most * parts[round % parts.length]!);
      const peer = await openPeer(target, '/echo', { headers });
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      await peer.write(first);
      for (let i = 0; i < times && peer.isOpen; i++) await peer.write(next);
      if (peer.isOpen) counts.done++;
      await Promise.race([peer.closed, wait(8000)]);
      if (!peer.isOpen) counts.closed++;
      peer.reset();
    }),
};
