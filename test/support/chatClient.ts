/** A client of the packet sub-protocol, over WebSocket or over plain TCP; what it says and hears can be read as text. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { magic, PacketCommand, showPacket } from '../../src/protocol/tpacket.ts';
import { connectTcp, handshakeRequest } from './rawClient.ts';
import { closeFrame, FrameReader, frame, opcode } from './rawFrame.ts';

export interface PacketFields {
  readonly uid?: number;
  readonly p1?: number;
  readonly p2?: number;
  /** What the header says, where it is to be something else than the packet's size. */
  readonly size?: number;
  readonly signature?: string;
}

export interface ChatPacket {
  readonly cmd: number;
  readonly uid: number;
  readonly p1: number;
  readonly p2: number;
  readonly blob: Buffer;
  /** The whole packet. */
  readonly bytes: Buffer;
}

const headerSize = 24;

/** A packet written from the sub-protocol's description alone: any rule can be broken. */
export function packetBytes(cmd: number, blob: string | Uint8Array = '', fields: PacketFields = {}): Buffer {
  const payload = Buffer.from(blob as Uint8Array);
  const { uid = 0, p1 = 0, p2 = 0, size = headerSize + payload.length, signature = 'Ej8@' } = fields;
  const header = Buffer.alloc(headerSize);
  header.write(signature, 'latin1');
  for (const [index, value] of [uid, size, cmd, p1, p2].entries()) header.writeInt32LE(value, 4 + index * 4);
  return Buffer.concat([header, payload]);
}

export const magicPacket = packetBytes(PacketCommand.Nop, magic);

/** @returns the packets that are whole, and how many bytes they are */
export function splitPackets(bytes: Buffer): { packets: ChatPacket[]; end: number } {
  const packets: ChatPacket[] = [];
  let at = 0;
  while (bytes.length - at >= headerSize) {
    const [uid, size, cmd, p1, p2] = [4, 8, 12, 16, 20].map(offset => bytes.readInt32LE(at + offset)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    assert.equal(bytes.toString('latin1', at, at + 4), 'Ej8@');
    assert.ok(size >= headerSize, `the server sent a packet of size ${size}`);
    if (bytes.length - at < size) break;
    const whole = bytes.subarray(at, at + size);
    packets.push({ cmd, uid, p1, p2, blob: whole.subarray(headerSize), bytes: whole });
    at += size;
  }
  return { packets, end: at };
}

/** As `showPacket` shows it. */
export function shown({ bytes, blob, ...numbers }: ChatPacket): string {
  return showPacket({ ...numbers, bytes, start: headerSize, end: bytes.length });
}

export interface ChatClient {
  readonly name: string;
  readonly socket: Socket;
  /** Sends one packet: over WebSocket as a binary message of its own. */
  send(cmd: number, blob?: string | Uint8Array, fields?: PacketFields): void;
  /** Sends bytes as they are: over WebSocket as one binary message. */
  sendBytes(bytes: Uint8Array): void;
  /** The next packet that came or comes; undefined when the server has ended its direction. */
  next(): Promise<ChatPacket | undefined>;
  /** The same as text; at the end: how the connection was ended. */
  hear(): Promise<string>;
  /** Packets that came and were not asked for yet. */
  readonly pending: ChatPacket[];
  /** Called with each packet, instead of keeping it. */
  onPacket: ((packet: ChatPacket) => void) | undefined;
  /** `1008 the reason` of the server's close frame, else 'FIN' or the system's error; resolved at the end of the stream. */
  readonly ended: Promise<string>;
  isOver(): boolean;
  /** Ends our direction (over WebSocket with a closing handshake) and waits until all is over. */
  leave(): Promise<void>;
}

export interface ChatOptions {
  readonly wire?: 'websocket' | 'tcp';
  readonly path?: string;
  /** Sent together with the handshake, in one write. */
  readonly first?: readonly Uint8Array[];
  /** Where each packet is written that was sent, or asked for with `hear`. */
  readonly transcript?: string[];
}

/** A binary message of a client's. */
export function binary(payload: Uint8Array): Buffer {
  return frame(opcode.binary, payload);
}

/** Connects; the ladder is still to be climbed. @throws Error where the handshake is refused */
export async function connectChat(
  port: number,
  name: string,
  options: ChatOptions = {},
): Promise<ChatClient> {
  const { wire = 'websocket', path = '/tpacket', first = [], transcript } = options;
  const isFramed = wire === 'websocket';
  const socket = await connectTcp(port);
  const pending: ChatPacket[] = [];
  const reader = new FrameReader();
  let head: string | undefined = isFramed ? undefined : '';
  let isOver = false;
  let closing = '';
  let wakers: (() => void)[] = [];
  const wake = () => {
    const woken = wakers;
    wakers = [];
    for (const resolve of woken) resolve();
  };
  const woken = () => new Promise<void>(resolve => wakers.push(resolve));
  const take = (packets: readonly ChatPacket[]) => {
    for (const packet of packets) {
      if (client.onPacket === undefined) pending.push(packet);
      else client.onPacket(packet);
    }
  };
  const takeFrames = () => {
    for (let next = reader.next(); next !== undefined; next = reader.next()) {
      if (next.opcode === opcode.close) {
        closing = `${next.payload.length < 2 ? 1005 : next.payload.readUInt16BE(0)} ${next.payload.toString('utf8', 2)}`;
        // RFC 6455 §5.5.1: a close frame is answered with one.
        socket.end(frame(opcode.close, next.payload));
      } else if (next.opcode === opcode.binary) {
        const { packets, end } = splitPackets(next.payload);
        assert.equal(end, next.payload.length, 'a message is made of whole packets');
        take(packets);
      }
    }
  };
  const ended = new Promise<string>(resolve => {
    const end = (how: string) => {
      isOver = true;
      resolve(closing || how);
      wake();
    };
    socket.once('end', () => end('FIN'));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.once('close', () => end('closed'));
  });
  socket.on('data', bytes => {
    reader.add(bytes);
    if (head === undefined) {
      const end = reader.rest().indexOf('\r\n\r\n');
      if (end < 0) return;
      head = reader.take(end + 4).toString('latin1');
    }
    if (isFramed) takeFrames();
    else {
      const { packets, end } = splitPackets(reader.rest());
      reader.take(end);
      take(packets);
    }
    wake();
  });

  const client: ChatClient = {
    name,
    socket,
    pending,
    onPacket: undefined,
    ended,
    isOver: () => isOver,

    send(cmd, blob = '', fields = {}) {
      const bytes = packetBytes(cmd, blob, fields);
      transcript?.push(`${name} > ${shown(splitPackets(bytes).packets[0]!)}`);
      client.sendBytes(bytes);
    },

    sendBytes(bytes) {
      socket.write(isFramed ? binary(bytes) : bytes);
    },

    async next() {
      while (pending.length === 0 && !isOver) await woken();
      return pending.shift();
    },

    async hear() {
      const packet = await client.next();
      const text = packet === undefined ? `(${await ended})` : shown(packet);
      transcript?.push(`${name} < ${text}`);
      return text;
    },

    async leave() {
      if (isFramed && closing === '' && socket.writable) socket.write(closeFrame(1000));
      else socket.end();
      await ended;
      if (!socket.closed) {
        socket.destroy();
        await once(socket, 'close');
      }
    },
  };

  const opening = isFramed ? [Buffer.from(handshakeRequest({ path }))] : [];
  socket.write(Buffer.concat([...opening, ...first]));
  while (head === undefined && !isOver) await woken();
  if (isFramed && !head?.startsWith('HTTP/1.1 101 ')) throw new Error(`the handshake was answered: ${head}`);
  return client;
}

/** What requests are known by. */
const nickRequest = 1;
const roomRequest = 2;

/** Says the magic and a nick, without waiting in between, as the original client does. */
export function sayNick(client: ChatClient, nick: string, uid = nickRequest): void {
  client.sendBytes(magicPacket);
  client.send(PacketCommand.SetUserNick, nick, { uid });
}

/** Connects, and climbs the ladder. @throws Error where the nick is refused */
export async function connectUser(
  port: number,
  nick: string,
  options: ChatOptions = {},
): Promise<ChatClient> {
  const client = await connectChat(port, nick, options);
  sayNick(client, nick);
  await expectHeard(client, `RESP_OK uid=${nickRequest} p1=0 p2=0`);
  return client;
}

/** The same, and into a room. What it is told there is pending, but for the grant. */
export async function connectMember(
  port: number,
  nick: string,
  room: string,
  options: ChatOptions = {},
): Promise<ChatClient> {
  const client = await connectUser(port, nick, options);
  client.send(PacketCommand.SetRoom, room, { uid: roomRequest });
  await expectHeard(client, `RESP_OK uid=${roomRequest} p1=0 p2=0`);
  return client;
}

/** The next packets are these, to the letter. */
export async function expectHeard(client: ChatClient, ...expected: readonly string[]): Promise<void> {
  for (const text of expected) assert.equal(await client.hear(), text, client.name);
}

/** A request that is answered at once; what the server said to this client before comes before the answer. */
export async function hearAll(client: ChatClient): Promise<string[]> {
  const uid = 0x7ead;
  client.sendBytes(packetBytes(PacketCommand.SetUserNick, 'again', { uid }));
  const heard: string[] = [];
  for (;;) {
    const packet = await client.next();
    if (packet === undefined) throw new Error(`${client.name} was ended: ${await client.ended}`);
    if (packet.uid === uid && packet.cmd === PacketCommand.RespError) return heard;
    heard.push(shown(packet));
  }
}

/** Takes packets until one is shown as `text`, which it has to be before the stream ends. @returns those before it */
export async function hearUntil(client: ChatClient, text: string): Promise<string[]> {
  const heard: string[] = [];
  for (;;) {
    const packet = await client.next();
    if (packet === undefined)
      throw new Error(`${client.name} was ended (${await client.ended}) before: ${text}`);
    const said = shown(packet);
    if (said === text) return heard;
    heard.push(said);
  }
}

/** A NEW_MSG as it is heard. */
export function said(uid: number, text: string): string {
  return `NEW_MSG uid=-1 p1=${uid} p2=0 ${JSON.stringify(text)}`;
}
