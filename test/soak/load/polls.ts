/** Clients without WebSocket: good ones, thousands that never poll, and messages that are never fetched. */
import { setTimeout as wait } from 'node:timers/promises';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { magicPacket, packetBytes } from '../../support/chatClient.ts';
import { requestBytes, type Sending } from '../../support/pollClient.ts';
import { KiB, maxMessage, textFrame } from './frames.ts';
import { type Counts, type Load, repeat, type Target } from './load.ts';
import { ask, connectPeer, openPeer } from './peer.ts';

/** @returns its path; undefined if the server refuses it */
async function openSession(target: Target, counts: Counts, handler: string): Promise<string | undefined> {
  const { status, body } = await ask(target, requestBytes('POST', `/poll/${handler}`));
  if (status === 201) return `/poll/s/${(JSON.parse(body) as { session: string }).session}`;
  counts.refused++;
  return undefined;
}

const request = (target: Target, method: string, path: string, sending?: Sending) =>
  ask(target, requestBytes(method, path, sending));

const text = { 'Content-Type': 'text/plain' };

export const polls: Load = {
  name: 'polls',
  unit: 'messages',
  isHarmless: true,
  run: (target, counts) =>
    repeat(20, 200, async index => {
      const session = await openSession(target, counts, 'echo');
      if (session === undefined) return;
      for (let seq = 1; seq <= 20; seq++) {
        const said = await request(target, 'POST', `${session}?seq=${seq}`, {
          headers: text,
          body: 'x'.repeat(index * 50),
        });
        const polled = await request(target, 'GET', `${session}?ack=${seq - 1}`);
        if (said.status !== 200 || polled.status !== 200) {
          counts.closed++;
          return;
        }
        counts.done++;
        await wait(200);
      }
      await request(target, 'DELETE', session);
    }),
};

export const streams: Load = {
  name: 'event streams',
  unit: 'reads',
  run: (target, counts) =>
    repeat(10, 200, async () => {
      const session = await openSession(target, counts, 'broadcast');
      const peer = session === undefined ? undefined : await connectPeer(target);
      if (session === undefined || peer === undefined) return;
      peer.onBytes = () => counts.done++;
      peer.socket.write(requestBytes('GET', session, { headers: { Accept: 'text/event-stream' } }));
      await Promise.race([wait(5000), peer.closed]);
      peer.reset();
    }),
};

let nicks = 0;

/** The packets with which a session enters a room, in one request. */
function roomLines(): string {
  const nick = packetBytes(PacketCommand.SetUserNick, `idle${process.pid}-${nicks++}`);
  const packets = [magicPacket, nick, packetBytes(PacketCommand.SetRoom, 'idlers')];
  return packets.map(packet => `{"binary":"${packet.toString('base64')}"}\n`).join('');
}

/** Every third session enters a room, whose members all get a notice. No session ever polls. */
export const idleSessions: Load = {
  name: 'idle sessions',
  unit: 'sessions',
  run: async (target, counts) => {
    const handlers = ['echo', 'broadcast', 'tpacket'];
    const opening = repeat(30, 80, async (index, round) => {
      const handler = handlers[(index + round) % handlers.length]!;
      const session = await openSession(target, counts, handler);
      if (session === undefined) return;
      counts.done++;
      if (handler !== 'tpacket') return;
      const headers = { 'Content-Type': 'application/x-ndjson' };
      await request(target, 'POST', session, { headers, body: roomLines() });
    });
    return Promise.all([opening, talkToAll(target, counts)]);
  },
};

const oneByte = textFrame('x');

function talkToAll(target: Target, counts: Counts): Promise<unknown> {
  return repeat(1, 100, async () => {
    const peer = await openPeer(target, '/broadcast');
    if (peer === undefined) {
      counts.refused++;
      return;
    }
    while (await peer.write(oneByte)) await wait(50);
    counts.closed++;
  });
}

/** Bytes that take six characters each in JSON. */
const controlCharacters = Buffer.alloc(maxMessage, 1);
const allButTheEnd = controlCharacters.subarray(4 * KiB);

/** Posts of the largest size whose echoes are never fetched; every second post never ends. */
export const unfetched: Load = {
  name: 'unfetched posts',
  unit: 'posts',
  run: (target, counts) =>
    repeat(12, 100, async (index, round) => {
      const session = await openSession(target, counts, index % 3 === 0 ? 'broadcast' : 'echo');
      const peer = session === undefined ? undefined : await connectPeer(target);
      if (session === undefined || peer === undefined) return;
      const fields = `Host: x\r\nContent-Type: text/plain\r\nContent-Length: ${maxMessage}\r\n`;
      peer.socket.write(`POST ${session} HTTP/1.1\r\n${fields}\r\n`);
      const isWhole = (index + round) % 2 === 0;
      if (await peer.write(isWhole ? controlCharacters : allButTheEnd)) counts.done++;
      else counts.closed++;
      await Promise.race([peer.closed, wait(5000)]);
      peer.reset();
    }),
};
