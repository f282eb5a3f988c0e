/** How the chat is encoded: as packets, or as lines of text for a terminal. */
import { wholeMessage } from '../../core/fanout.ts';
import { indentedWithDots } from '../../log/printable.ts';
import { maxPacketBlob } from '../../protocol/limits.ts';
import { PacketCommand, packetHeaderSize, writePacket } from '../../protocol/tpacket.ts';
import type { Message } from '../../protocol/websocket/message.ts';
import type { ChatEncoder } from './room.ts';

/** Every packet is encoded here; senders copy it at once. */
const scratch = Buffer.allocUnsafe(packetHeaderSize + maxPacketBlob + 256);

/** One record for all packets: a busy room sends a hundred thousand a second. */
const encoded: Message = wholeMessage(false, scratch);

/** The uid of packets that answer no request. */
const unsolicited = -1;

function packet(cmd: number, uid: number, p1: number, blob: Uint8Array | string, p2 = 0): Message {
  const bytes = typeof blob === 'string' ? Buffer.from(blob) : blob;
  encoded.end = writePacket(scratch, 0, cmd, uid, p1, p2, bytes);
  return encoded;
}

/** Unsigned 32-bit seconds in an int32, good until 2106. 0 means "no time". */
function toSeconds(time: number): number {
  return time === 0 ? 0 : Math.max(1, Math.min(Math.floor(time / 1000), 0xffffffff)) | 0;
}

/** LOGGED_MSG carries a time only for clients that ask for it (p2 of SET_USER_NICK): the original client knows none. */
export interface PacketEncoders {
  readonly plain: ChatEncoder;
  readonly timed: ChatEncoder;
}

/** A pair for each wire: a message is encoded once for all users with the same encoder. */
export function newPacketEncoders(): PacketEncoders {
  return { plain: newPacketEncoder(() => 0), timed: newPacketEncoder(toSeconds) };
}

function newPacketEncoder(timeOf: (time: number) => number): ChatEncoder {
  return {
    echoesSender: true,
    ok: request => packet(PacketCommand.RespOk, request, 0, ''),
    error: (request, why) => packet(PacketCommand.RespError, request, -1, why),
    joined: ({ uid, nick }) => packet(PacketCommand.NewUser, unsolicited, uid, nick.text),
    left: ({ uid, nick }) => packet(PacketCommand.DelUser, unsolicited, uid, nick.text),
    message: ({ uid }, text) => packet(PacketCommand.NewMsg, unsolicited, uid, text),
    history: (line, time) => packet(PacketCommand.LoggedMsg, unsolicited, 0, line, timeOf(time)),
  };
}

/* Lines for a terminal: messages as `nick: text`, notices after a `*`, errors after a `!`. */

const line = (text: string) => wholeMessage(false, Buffer.from(`${text}\n`));

const lineEnd = Buffer.from('\n');

/** @param start safe for a terminal */
const textLine = (start: string, text: Uint8Array) =>
  wholeMessage(false, Buffer.concat([Buffer.from(start), printableChatText(text), lineEnd]));

const indent = Buffer.from('    ');

/**
 * Makes a text safe for a terminal: control characters are replaced, and lines after the first are indented, so that nobody can
 * forge another user's message.
 */
export function printableChatText(text: Uint8Array): Uint8Array {
  return indentedWithDots(text, indent);
}

export const lineEncoder: ChatEncoder = {
  // The terminal has echoed the line already.
  echoesSender: false,
  ok: () => wholeMessage(false, Buffer.alloc(0)),
  error: (_, why) => line(`! ${why}`),
  joined: ({ nick }) => line(`* ${nick.text} is here`),
  left: ({ nick }) => line(`* ${nick.text} left`),
  message: ({ nick }, text) => textLine(`${nick.text}: `, text),
  history: text => textLine('', text),
};
