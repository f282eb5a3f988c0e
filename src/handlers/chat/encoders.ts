/** The chat, said in packets. */
import { withDots } from '../../log/printable.ts';
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

/** The chat, said in lines for a terminal: what people say as `nick: text`, all else after a `*`, or a `!`. */

const line = (text: string) => Buffer.from(`${text}\n`);

/**
 * Text as it may be shown in a terminal: nothing in it is taken for a command, and its further lines are set in, so that
 * no one can be made to say what they did not.
 */
export function printable(text: string): string {
  return withDots(text.replace(/\r?\n/g, '\n    '), '\n');
}

export const lineVoice: Voice = {
  // It is on their screen already.
  hearsItself: false,
  granted: () => Buffer.alloc(0),
  refused: (_, why) => line(`! ${why}`),
  came: ({ nick }) => line(`* ${nick.text} is here`),
  left: ({ nick }) => line(`* ${nick.text} left`),
  said: ({ nick }, text) => line(`${nick.text}: ${printable(Buffer.from(text).toString('utf8'))}`),
  logged: text => line(printable(text.toString('utf8'))),
};
