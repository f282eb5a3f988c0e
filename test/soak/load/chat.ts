/** A chat as people use it, and rooms that hundreds of users enter and leave at the same moment. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { currentSegment } from '../../../src/storage/log/segments.ts';
import { magicPacket, packetBytes } from '../../support/chatClient.ts';
import { binaryFrame } from './frames.ts';
import { type Counts, type Load, repeat, type Target } from './load.ts';
import { openPeer, type Peer } from './peer.ts';

let members = 0;

/** Opens a connection with a nick and without a room. */
async function openUser(target: Target, counts: Counts): Promise<Peer | undefined> {
  const peer = await openPeer(target, '/tpacket');
  if (peer === undefined) {
    counts.refused++;
    return undefined;
  }
  const nick = `m${process.pid}-${members++}`;
  peer.socket.write(binaryFrame(Buffer.concat([magicPacket, packetBytes(PacketCommand.SetUserNick, nick)])));
  return peer;
}

const roomFrame = (room: string) => binaryFrame(packetBytes(PacketCommand.SetRoom, room));
const sentence = binaryFrame(packetBytes(PacketCommand.NewMsg, 'something that people say to each other'));

const rooms = 5;

export const chat: Load = {
  name: 'chat',
  unit: 'messages said',
  isHarmless: true,
  run: (target, counts) =>
    repeat(50, 100, async index => {
      const peer = await openUser(target, counts);
      if (peer === undefined) return;
      await peer.write(roomFrame(`pond${index % rooms}`));
      for (let said = 0; said < 20 + index; said++) {
        if (!(await peer.write(sentence))) {
          counts.closed++;
          return;
        }
        counts.done++;
        await wait(500);
      }
      peer.reset();
    }),
};

/** A room whose messages are among damaged lines (see place.ts), and whose visitors damage the log further. */
export const damagedRoom = 'damaged';

export const visitors: Load = {
  name: 'damaged room',
  unit: 'visits',
  run: (target, counts) =>
    repeat(1, 3000, async () => {
      const peer = await openUser(target, counts);
      if (peer === undefined) return;
      await peer.write(roomFrame(damagedRoom));
      // Half a line, as another program or a full disk leaves it: what the server appends next must not be part of it.
      appendFileSync(join(target.data, currentSegment), '{"id":"soak-');
      await peer.write(sentence);
      await wait(1000);
      counts.done++;
      peer.reset();
    }),
};

const residents = 400;
const newcomers = 200;
const lobby = roomFrame('lobby');

export const joins: Load = {
  name: 'mass joins',
  unit: 'joins',
  run: async (target, counts) => {
    const settle = repeat(residents, 500, async () => {
      const peer = await openUser(target, counts);
      if (peer === undefined) return;
      await peer.write(lobby);
      await peer.closed;
      counts.closed++;
    });
    const burst = repeat(1, 5000, async () => {
      const users = await Promise.all(Array.from({ length: newcomers }, () => openUser(target, counts)));
      const peers = users.filter(peer => peer !== undefined);
      for (const peer of peers) peer.socket.write(lobby);
      await wait(2000);
      for (const peer of peers) {
        if (peer.isOpen) counts.done++;
        else counts.closed++;
        peer.reset();
      }
    });
    return Promise.all([settle, burst]);
  },
};
