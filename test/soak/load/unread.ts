/** Clients that make the server send and do not read: echoes and broadcasts. */
import { setTimeout as wait } from 'node:timers/promises';
import { KiB, MiB, maxMessage, textFrame } from './frames.ts';
import { type Load, repeat } from './load.ts';
import { openPeer } from './peer.ts';

const sizes = [100, 10 * KiB, MiB, maxMessage].map(size => textFrame(Buffer.alloc(size, 'x')));

export const unread: Load = {
  name: 'unread echoes',
  unit: 'messages',
  run: (target, counts) =>
    repeat(24, 300, async (index, round) => {
      const peer = await openPeer(target, index % 6 === 0 ? '/broadcast' : '/echo');
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      peer.socket.pause();
      const message = sizes[(index + round) % sizes.length]!;
      const sending = (async () => {
        for (let sent = 0; sent < 64 * MiB && peer.isOpen; sent += message.length) {
          if (await peer.write(message)) counts.done++;
        }
      })();
      await Promise.race([peer.closed, Promise.all([sending, wait(8000)]), wait(10_000)]);
      if (!peer.isOpen) counts.closed++;
      peer.reset();
    }),
};
