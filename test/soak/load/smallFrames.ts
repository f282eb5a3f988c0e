/** Connections that send the smallest frames as fast as the server reads them. */
import { frame, opcode } from '../../support/rawFrame.ts';
import { KiB, textFrame } from './frames.ts';
import { type Load, repeat } from './load.ts';
import { openPeer } from './peer.ts';

const key = Buffer.alloc(4, 7);
const fill = (one: Buffer) => Buffer.alloc(Math.floor((64 * KiB) / one.length) * one.length, one);
const emptyMessage = [
  frame(opcode.text, '', { key, fin: false }),
  frame(opcode.continuation, '', { key, fin: false }),
  frame(opcode.continuation, '', { key }),
];
const floods = [
  fill(textFrame('x')),
  fill(frame(opcode.ping, '', { key })),
  fill(frame(opcode.pong, 'unasked', { key })),
  fill(Buffer.concat(emptyMessage)),
  fill(textFrame('x'.repeat(100))),
];

export const smallFrames: Load = {
  name: 'small frames',
  unit: 'blocks of 64 KiB',
  run: (target, counts) =>
    repeat(15, 200, async index => {
      const peer = await openPeer(target, '/echo');
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      while (await peer.write(floods[index % floods.length]!)) counts.done++;
      counts.closed++;
    }),
};
