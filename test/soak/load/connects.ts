/** Bursts of a thousand connections, silent connections, and half handshakes. */
import { setTimeout as wait } from 'node:timers/promises';
import { type Load, repeat } from './load.ts';
import { connectPeer } from './peer.ts';

const burst = 1000;

export const connects: Load = {
  name: 'bursts of connects',
  unit: 'connections',
  run: (target, counts) =>
    repeat(1, 4000, async () => {
      const peers = await Promise.all(Array.from({ length: burst }, () => connectPeer(target)));
      await wait(1000);
      for (const peer of peers) {
        if (peer === undefined) counts.refused++;
        else if (peer.isOpen) counts.done++;
        else counts.closed++;
        peer?.reset();
      }
    }),
};

const beginnings = [
  '',
  'G',
  'GET / HTTP/1.1\r\nHost: x\r\n',
  'POST /poll/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n',
  'POST /poll/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab',
  'hello\n',
  'Ej8@',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
].map(text => Buffer.from(text, 'latin1'));

export const silent: Load = {
  name: 'silent connections',
  unit: 'connections',
  run: (target, counts) =>
    repeat(400, 500, async index => {
      const peer = await connectPeer(target);
      if (peer === undefined) {
        counts.refused++;
        return;
      }
      counts.done++;
      await peer.write(beginnings[index % beginnings.length]!);
      await peer.closed;
      counts.closed++;
    }),
};
