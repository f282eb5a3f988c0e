/** A client of the packet sub-protocol, over WebSocket or plain TCP. Packets can be shown as text. */
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
  /** The size in the header. Default: the packet's size. */
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

/** A packet, written from the sub-protocol's description. A packet may break any rule. */
export function packetBytes(cmd: number, blob: string | Uint8Array = '', fields: PacketFields = {}): Buffer {
  const payload = Buffer.from(blob as Uint8Array);
  const { uid = 0, p1 = 0, p2 = 0, size = headerSize + payload.length, signature = 'Ej8@' } = fields;
  const header = Buffer.alloc(headerSize);
  header.write(signature, 'latin1');
  for (const [index, value] of [uid, size, cmd, p1, p2].entries()) header.writeInt32LE(value, 4 + index * 4);
  return Buffer.concat([header, payload]);
}

export const magicPacket = packetBytes(PacketCommand.Nop, magic);

/** @returns the complete packets and their total size */
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
  /** Sends a packet; over WebSocket in a binary message of its own. */
  send(cmd: number, blob?: string | Uint8Array, fields?: PacketFields): void;
  /** Sends any bytes; over WebSocket in one binary message. */
  sendBytes(bytes: Uint8Array): void;
  /** Waits for the next packet; undefined once the server has ended its direction. */
  next(): Promise<ChatPacket | undefined>;
  /** Waits for the next packet. @returns the packet as text, or how the connection ended */
  hear(): Promise<string>;
  /** Packets that have arrived and were not taken yet. */
  readonly pending: ChatPacket[];
  /** Called with each packet instead of appending it to `pending`. */
  onPacket: ((packet: ChatPacket) => void) | undefined;
  /** Resolves at the end of the stream with the server's close frame (`1008 the reason`), 'FIN' or an error code. */
  readonly ended: Promise<string>;
  isOver(): boolean;
  /** Half-closes (over WebSocket with a closing handshake) and waits for the end of the stream. */
  leave(): Promise<void>;
}

export interface ChatOptions {
  readonly wire?: 'websocket' | 'tcp';
  readonly path?: string;
  /** Of the handshake. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent in one write with the handshake. */
  readonly first?: readonly Uint8Array[];
  /** Gets a line for each packet that was sent, or taken with `hear`. */
  readonly transcript?: string[];
}

/** A client's binary message. */
export function binary(payload: Uint8Array): Buffer {
  return frame(opcode.binary, payload);
}

/** Connects without a nick and a room. @throws Error if the handshake is refused */
export async function connectChat(
  port: number,
  name: string,
  options: ChatOptions = {},
): Promise<ChatClient> {
  const { wire = 'websocket', path = '/tpacket', headers = {}, first = [], transcript } = options;
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

  const opening = isFramed ? [Buffer.from(handshakeRequest({ path, headers }))] : [];
  socket.write(Buffer.concat([...opening, ...first]));
  while (head === undefined && !isOver) await woken();
  if (isFramed && !head?.startsWith('HTTP/1.1 101 ')) throw new Error(`the handshake was answered: ${head}`);
  return client;
}

/** The uids by which answers to requests are recognised. */
const nickRequest = 1;
const roomRequest = 2;

/** Sends the magic and a nick at once, as the original client does. */
export function sayNick(client: ChatClient, nick: string, uid = nickRequest): void {
  client.sendBytes(magicPacket);
  client.send(PacketCommand.SetUserNick, nick, { uid });
}

/** Connects with a nick. @throws Error if the nick is refused */
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

/** Connects with a nick and enters a room. The packets behind the RESP_OK are pending. */
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

/** Asserts that exactly these packets arrive next. */
export async function expectHeard(client: ChatClient, ...expected: readonly string[]): Promise<void> {
  for (const text of expected) assert.equal(await client.hear(), text, client.name);
}

/** Drains the packets received so far: sends a request, and returns all packets before its reply. */
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

/** Takes packets until the one shown as `text`. @returns the ones before it. @throws Error if the stream ends first */
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

/** A NEW_MSG as text. */
export function said(uid: number, text: string): string {
  return `NEW_MSG uid=-1 p1=${uid} p2=0 ${JSON.stringify(text)}`;
}
