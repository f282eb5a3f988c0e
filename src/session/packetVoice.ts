/** The chat, said in packets. */
import { maxPacketBlob } from '../protocol/bounds.ts';
import { Command, packetHeaderSize, writePacket } from '../protocol/packet.ts';
import type { Voice } from './room.ts';

/** Each packet is written here, and copied from here: nothing is kept in it. */
const scratch = Buffer.allocUnsafe(packetHeaderSize + maxPacketBlob + 256);

/** What nobody asked for has no request's uid. */
const unasked = -1;

function packet(cmd: number, uid: number, p1: number, blob: Uint8Array | string): Uint8Array {
  const bytes = typeof blob === 'string' ? Buffer.from(blob) : blob;
  return scratch.subarray(0, writePacket(scratch, 0, cmd, uid, p1, 0, bytes));
}

/** One for each way that packets travel, as they are sent to all who have the same voice in one form. */
export function newPacketVoice(): Voice {
  return {
    hearsItself: true,
    granted: request => packet(Command.RespOk, request, 0, ''),
    refused: (request, why) => packet(Command.RespError, request, -1, why),
    came: ({ uid, nick }) => packet(Command.NewUser, unasked, uid, nick.text),
    left: ({ uid, nick }) => packet(Command.DelUser, unasked, uid, nick.text),
    said: ({ uid }, text) => packet(Command.NewMsg, unasked, uid, text),
    logged: line => packet(Command.LoggedMsg, unasked, 0, line),
  };
}
