/** Frames of 16 KiB that inflate to 16 MiB, and messages of 8 MiB that the server has to compress again. */
import { compressed, deflated, deflateHeaders, maxMessage, textFrame } from './frames.ts';
import { type Load, repeat } from './load.ts';
import { openPeer } from './peer.ts';

const bomb = textFrame(deflated(Buffer.alloc(maxMessage, 'x')), compressed);
const tooLarge = textFrame(deflated(Buffer.alloc(maxMessage + 1, 'x')), compressed);

export const bombs: Load = {
  name: 'deflate bombs',
  unit: 'messages',
  run: (target, counts) =>
    repeat(10, 500, async index => {
      const peer = await openPeer(target, '/echo', { headers: deflateHeaders });
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      // The last two do not wait for the echo.
      const isHasty = index >= 8;
      for (let sent = 0; sent < 20; sent++) {
        const echoed = peer.receive(1);
        peer.socket.write(index % 4 === 3 ? tooLarge : bomb);
        if (isHasty ? !peer.isOpen : !(await echoed)) break;
        counts.done++;
      }
      if (isHasty) await peer.closed;
      if (!peer.isOpen) counts.closed++;
      peer.reset();
    }),
};
