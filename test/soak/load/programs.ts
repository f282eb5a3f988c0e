/** Programs that answer clients that come and go, and programs that write endlessly. */
import { setTimeout as wait } from 'node:timers/promises';
import { echoSize, textFrame } from './frames.ts';
import { type Load, repeat } from './load.ts';
import { openPeer } from './peer.ts';

const line = textFrame('a line');
const lineSize = echoSize('a line'.length);

export const programs: Load = {
  name: 'programs',
  unit: 'messages',
  run: (target, counts) =>
    repeat(12, 200, async (index, round) => {
      const peer = await openPeer(target, index % 2 === 0 ? '/cat' : '/shared');
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      for (let sent = 0; sent < 10; sent++) {
        const answered = peer.receive(lineSize);
        peer.socket.write(line);
        if (!(await answered)) {
          counts.closed++;
          return;
        }
        counts.done++;
        await wait(100);
      }
      if (round % 2 === 0) peer.reset();
      else peer.socket.end();
    }),
};

/** Programs that write to stdout or stderr, for clients that read and for clients that do not. */
export const programFloods: Load = {
  name: 'program floods',
  unit: 'programs',
  run: (target, counts) =>
    repeat(6, 500, async index => {
      const peer = await openPeer(target, index % 2 === 0 ? '/stdout' : '/stderr');
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      counts.done++;
      if (index % 4 === 0) peer.socket.pause();
      await Promise.race([peer.closed, wait(3000)]);
      if (!peer.isOpen) counts.closed++;
      peer.reset();
    }),
};
