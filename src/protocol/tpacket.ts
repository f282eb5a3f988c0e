/**
 * The packet sub-protocol (`tpacket`): a header of 24 bytes, little-endian, and a blob.
 *
 *     char frame[4] = "Ej8@"    int32 uid    int32 size (24 + the blob's)    int32 cmd    int32 p1    int32 p2
 *
 * A WebSocket message holds one packet, or several back to back; over plain TCP the stream consists of packets.
 */

import { CloseCode, ProtocolError } from './codes.ts';
import { maxPacketBlob } from './limits.ts';

/** Commands by number. */
export const PacketCommand = {
  Nop: 0,
  SetUserNick: 1,
  SetRoom: 2,
  RespOk: 3,
  RespError: 4,
  NewUser: 5,
  DelUser: 6,
  NewMsg: 7,
  LoggedMsg: 8,
} as const;

const commandNames = [
  'NOP',
  'SET_USER_NICK',
  'SET_ROOM',
  'RESP_OK',
  'RESP_ERROR',
  'NEW_USER',
  'DEL_USER',
  'NEW_MSG',
  'LOGGED_MSG',
];

/** The blob of a client's first packet, whose cmd is 0. */
export const magic = 'magic string :)';

export const packetHeaderSize = 24;

/** The first bytes of every packet, by which packets over TCP are detected. */
export const packetSignature = Buffer.from('Ej8@', 'latin1');

/** A packet; its blob is `bytes[start, end)`, which is not a copy. One record is reused for all packets. */
export interface Packet {
  uid: number;
  cmd: number;
  p1: number;
  p2: number;
  bytes: Uint8Array;
  start: number;
  end: number;
}

export function newPacket(): Packet {
  return { uid: 0, cmd: 0, p1: 0, p2: 0, bytes: packetSignature, start: 0, end: 0 };
}

const fail = (reason: string): never => {
  throw new ProtocolError(CloseCode.PolicyViolation, reason);
};

/**
 * Reads the packet at `bytes[start]` into `packet`.
 * @returns its size; 0 while it is incomplete
 * @throws ProtocolError 1008 for a wrong signature or an invalid size
 */
export function readPacket(packet: Packet, bytes: Uint8Array, start: number, end: number): number {
  const known = Math.min(end - start, packetSignature.length);
  for (let i = 0; i < known; i++) {
    if (bytes[start + i] !== packetSignature[i]) fail('not a packet: its signature is not Ej8@');
  }
  if (end - start < 12) return 0;
  const size = readInt32(bytes, start + 8);
  if (size < packetHeaderSize) fail(`a packet is at least ${packetHeaderSize} bytes, not ${size}`);
  if (size > packetHeaderSize + maxPacketBlob) fail(`a packet carries at most ${maxPacketBlob} bytes`);
  if (end - start < size) return 0;
  packet.uid = readInt32(bytes, start + 4);
  packet.cmd = readInt32(bytes, start + 12);
  packet.p1 = readInt32(bytes, start + 16);
  packet.p2 = readInt32(bytes, start + 20);
  packet.bytes = bytes;
  packet.start = start + packetHeaderSize;
  packet.end = start + size;
  return size;
}

function readInt32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/**
 * Writes a packet at `bytes[at]`, which must have room for it.
 * @returns the index after the packet
 */
export function writePacket(
  bytes: Buffer,
  at: number,
  cmd: number,
  uid: number,
  p1: number,
  p2: number,
  blob: Uint8Array,
): number {
  bytes.set(packetSignature, at);
  bytes.writeInt32LE(uid, at + 4);
  bytes.writeInt32LE(packetHeaderSize + blob.length, at + 8);
  bytes.writeInt32LE(cmd, at + 12);
  bytes.writeInt32LE(p1, at + 16);
  bytes.writeInt32LE(p2, at + 20);
  bytes.set(blob, at + packetHeaderSize);
  return at + packetHeaderSize + blob.length;
}

/** A packet in readable form: `NEW_MSG uid=-1 p1=4096 p2=0 "hello"`. */
export function showPacket({ uid, cmd, p1, p2, bytes, start, end }: Packet): string {
  const blob = Buffer.from(bytes.subarray(start, end)).toString('utf8');
  const name = commandNames[cmd] ?? `cmd ${cmd}`;
  return `${name} uid=${uid} p1=${p1} p2=${p2}${start === end ? '' : ` ${JSON.stringify(blob)}`}`;
}
