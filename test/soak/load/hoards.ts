/** Strangers that hold as much memory of the server as they can, for as long as it lets them. */
import { setTimeout as wait } from 'node:timers/promises';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { magicPacket, packetBytes } from '../../support/chatClient.ts';
import { requestBytes } from '../../support/pollClient.ts';
import { binaryFrame, compressed, deflated, deflateHeaders, KiB, textFrame } from './frames.ts';
import { type Counts, type Load, repeat, type Target } from './load.ts';
import { ask, connectPeer, openPeer, type Peer } from './peer.ts';

const defaultClients = 10;

/**
 * A load whose clients connect, hold something of the server, and come back as soon as they are disconnected.
 * @param hold returns how many units it holds
 */
function hoard(
  name: string,
  unit: string,
  open: (target: Target) => Promise<Peer | undefined>,
  hold: (peer: Peer, client: string, target: Target) => Promise<number>,
): Load {
  const visit = async (target: Target, counts: Counts, index: number) => {
    const peer = await open(target);
    if (peer === undefined) {
      counts.refused++;
      return;
    }
    const held = await hold(peer, `${process.pid}-${index}`, target);
    counts.done += held;
    await peer.closed;
    counts.closed++;
  };
  return {
    name,
    unit,
    run: (target, counts) =>
      repeat(target.hoarders ?? defaultClients, 1000, index => visit(target, counts, index)),
  };
}

const longHead = `GET / HTTP/1.1\r\nHost: x\r\n${`Cookie: ${'c'.repeat(990)}\r\n`.repeat(15)}`;

const heads = hoard('long heads', 'heads', connectPeer, async peer => {
  await peer.write(Buffer.from(longHead));
  return 1;
});

const lines = hoard('lines without an end', 'lines', connectPeer, async (peer, client) => {
  await peer.write(Buffer.from(`${client}\n`));
  await peer.write(Buffer.alloc(63 * KiB, 'x'));
  return 1;
});

/** Random bytes do not compress, so both windows are full afterwards. */
const noise = Buffer.from(
  Array.from({ length: 40 * KiB }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 0x7f),
);

const contexts = hoard(
  'compression contexts',
  'connections',
  target => openPeer(target, '/echo', { headers: deflateHeaders }),
  async peer => {
    await peer.write(textFrame(deflated(noise), compressed));
    return 1;
  },
);

const subscriptions = 100;

let subscribers = 0;

const subscribes = hoard(
  'subscriptions',
  'channels',
  target => {
    const number = subscribers++;
    // A head of 16 KiB has room for 100 names of this length.
    const name = (at: number) => `c=${process.pid}-${number}-${at}-${'n'.repeat(110)}`;
    return openPeer(
      target,
      `/channels?${Array.from({ length: subscriptions }, (_, at) => name(at)).join('&')}`,
    );
  },
  async () => subscriptions,
);

const chatFrame = (command: number, text: string) => binaryFrame(packetBytes(command, text));
const sentence = chatFrame(PacketCommand.NewMsg, 'x'.repeat(60 * KiB));
const sentences = 20;

/** Each client fills the history of a room of its own. */
const histories = hoard(
  'full histories',
  'messages',
  target => openPeer(target, '/tpacket'),
  async (peer, client) => {
    await peer.write(
      binaryFrame(Buffer.concat([magicPacket, packetBytes(PacketCommand.SetUserNick, client)])),
    );
    await peer.write(chatFrame(PacketCommand.SetRoom, `r${client}-${Date.now() % 1e6}`));
    for (let said = 0; said < sentences && peer.isOpen; said++) await peer.write(sentence);
    // Its history remains when it leaves, and the next one fills another room.
    await Promise.race([peer.closed, wait(5000)]);
    peer.reset();
    return sentences;
  },
);

const request = requestBytes('GET', '/chat', { headers: { Connection: 'keep-alive' } });
const pipelined = 200;

const answers = hoard('unread answers', 'requests', connectPeer, async peer => {
  peer.socket.pause();
  await Promise.race([peer.write(Buffer.concat(Array(pipelined).fill(request))), peer.closed, wait(5000)]);
  return pipelined;
});

/** An event stream that its client does not read, of a session that broadcasts to all others. */
const streams = hoard('unread event streams', 'streams', connectPeer, async (peer, _, target) => {
  const { status, body } = await ask(target, requestBytes('POST', '/poll/broadcast'));
  if (status !== 201) return 0;
  const { session } = JSON.parse(body) as { session: string };
  await peer.write(requestBytes('GET', `/poll/s/${session}`, { headers: { Accept: 'text/event-stream' } }));
  peer.socket.pause();
  await ask(target, requestBytes('POST', `/poll/s/${session}`, { body: 'y'.repeat(200 * KiB) }));
  return 1;
});

export const hoards: readonly Load[] = [heads, lines, contexts, subscribes, histories, answers, streams];
