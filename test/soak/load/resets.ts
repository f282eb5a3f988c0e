/** Connections that reset at every stage: before the handshake, in the middle of a frame, with an echo in flight. */
import { handshakeRequest } from '../../support/rawClient.ts';
import { closeFrame } from '../../support/rawFrame.ts';
import { MiB, textFrame } from './frames.ts';
import { type Load, repeat } from './load.ts';
import { connectPeer } from './peer.ts';

const request = Buffer.from(handshakeRequest({ path: '/echo' }));
const large = textFrame(Buffer.alloc(MiB, 'x'));
const beginnings = [
  Buffer.alloc(0),
  request.subarray(0, 50),
  request,
  Buffer.concat([request, large.subarray(0, 3)]),
  Buffer.concat([request, large.subarray(0, MiB / 2)]),
  Buffer.concat([request, large, large]),
  Buffer.concat([request, closeFrame(1000)]),
  Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01', 'latin1'),
  Buffer.from('Ej8@', 'latin1'),
  Buffer.from('PROXY TCP4 1.2.3.4', 'latin1'),
];

export const resets: Load = {
  name: 'resets',
  unit: 'connections',
  run: (target, counts) =>
    repeat(10, 100, async (index, round) => {
      const peer = await connectPeer(target);
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      await peer.write(beginnings[(index + round) % beginnings.length]!);
      counts.done++;
      if (round % 3 === 0) peer.socket.end();
      else peer.reset();
    }),
};
