/** The chat, said in packets. */
import { maxPacketBlob } from '../../protocol/limits.ts';
import { PacketCommand, packetHeaderSize, writePacket } from '../../protocol/tpacket.ts';
import type { Voice } from './room.ts';

/** Each packet is written here, and copied from here: nothing is kept in it. */
const scratch = Buffer.allocUnsafe(packetHeaderSize + maxPacketBlob + 256);

/** What nobody asked for has no request's uid. */
const unasked = -1;

function packet(cmd: number, uid: number, p1: number, blob: Uint8Array | string, p2 = 0): Uint8Array {
  const bytes = typeof blob === 'string' ? Buffer.from(blob) : blob;
  return scratch.subarray(0, writePacket(scratch, 0, cmd, uid, p1, p2, bytes));
}

/** An unsigned 32-bit number, as an int32. It reaches to the year 2106; 0 is kept for "no time". */
function toSeconds(time: number): number {
  return time === 0 ? 0 : Math.max(1, Math.min(Math.floor(time / 1000), 0xffffffff)) | 0;
}

/** The original client knows no times, so LOGGED_MSG carries one only for clients that ask (p2 of SET_USER_NICK). */
export interface PacketVoices {
  readonly plain: Voice;
  readonly timed: Voice;
}

/** A pair for each way that packets travel: a message is encoded once for all users with the same voice. */
export function newPacketVoices(): PacketVoices {
  return { plain: newPacketVoice(() => 0), timed: newPacketVoice(toSeconds) };
}

function newPacketVoice(timeOf: (time: number) => number): Voice {
  return {
    hearsItself: true,
    granted: request => packet(PacketCommand.RespOk, request, 0, ''),
    refused: (request, why) => packet(PacketCommand.RespError, request, -1, why),
    came: ({ uid, nick }) => packet(PacketCommand.NewUser, unasked, uid, nick.text),
    left: ({ uid, nick }) => packet(PacketCommand.DelUser, unasked, uid, nick.text),
    said: ({ uid }, text) => packet(PacketCommand.NewMsg, unasked, uid, text),
    logged: (line, time) => packet(PacketCommand.LoggedMsg, unasked, 0, line, timeOf(time)),
  };
}
