/** Clients that echo occasionally, with messages of all sizes, plain, over TLS and compressed. */
import { setTimeout as wait } from 'node:timers/promises';
import { compressed, deflated, deflateHeaders, echoSize, KiB, textFrame } from './frames.ts';
import { type Counts, type Load, repeat, type Target } from './load.ts';
import { openPeer, type PeerOptions } from './peer.ts';

const messages = [1, 10, 125, 126, 1000, 4 * KiB, 20 * KiB, 70 * KiB].map(size => ({
  frame: textFrame(Buffer.alloc(size, 'x')),
  size: echoSize(size),
}));

export const echo: Load = {
  name: 'echo',
  unit: 'messages',
  isHarmless: true,
  run: (target, counts) => repeat(40, 100, index => talk(target, counts, 50, index, {})),
};

export const tls: Load = {
  name: 'TLS',
  unit: 'messages',
  isHarmless: true,
  run: (target, counts) =>
    repeat(10, 100, index => talk(target, counts, 50, index, { isSecure: true }, index < 5 ? 20 : undefined)),
};

/** @param most the number of messages before the client leaves. Default: it stays */
async function talk(
  target: Target,
  counts: Counts,
  pause: number,
  first: number,
  options: PeerOptions,
  most = Number.POSITIVE_INFINITY,
): Promise<void> {
  const peer = await openPeer(target, '/echo', options);
  if (peer === undefined) {
    counts.refused++;
    return;
  }
  for (let sent = 0; sent < most; sent++) {
    const { frame, size } = messages[(first + sent) % messages.length]!;
    const echoed = peer.receive(size);
    peer.socket.write(frame);
    if (!(await echoed)) {
      counts.closed++;
      return;
    }
    counts.done++;
    await wait(pause);
  }
  peer.reset();
}

const text = 'the same words again and again, '.repeat(100);
const compressedText = textFrame(deflated(Buffer.from(text)), compressed);

export const compression: Load = {
  name: 'compression',
  unit: 'messages',
  isHarmless: true,
  run: (target, counts) =>
    repeat(10, 100, async () => {
      const peer = await openPeer(target, '/echo', { headers: deflateHeaders });
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      for (;;) {
        const echoed = peer.receive(1);
        peer.socket.write(compressedText);
        if (!(await echoed)) break;
        counts.done++;
        await wait(50);
      }
      counts.closed++;
    }),
};
