/** The packet sub-protocol as a browser speaks it: a header of 24 bytes, little-endian, and a blob of UTF-8. */

export const Command = {
  SetUserNick: 1,
  SetRoom: 2,
  RespOk: 3,
  RespError: 4,
  NewUser: 5,
  DelUser: 6,
  NewMsg: 7,
  LoggedMsg: 8,
} as const;

export interface Packet {
  readonly command: number;
  /** The uid of the request that it answers; -1 if it answers none. */
  readonly uid: number;
  /** The uid of the user it is about; -1 in an error. */
  readonly p1: number;
  /** Seconds since the epoch; 0 for a message that is in no history. */
  readonly time: number;
  readonly blob: string;
}

const headerSize = 24;
/** The characters `Ej8@` as a little-endian number. */
const frameMark = 0x40386a45;
const magicCommand = 0;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** @param uid an int32, which the answer repeats */
export function encodePacket(command: number, uid: number, text: string, p2 = 0): Uint8Array<ArrayBuffer> {
  const blob = encoder.encode(text);
  const bytes = new Uint8Array(headerSize + blob.length);
  const fields = [frameMark, uid, bytes.length, command, 0, p2];
  const view = new DataView(bytes.buffer);
  for (const [index, value] of fields.entries()) view.setInt32(index * 4, value, true);
  bytes.set(blob, headerSize);
  return bytes;
}

/** As p2 of SET_USER_NICK: asks for times in LOGGED_MSG. */
export const requestTimes = 1;

/** The first packet of a connection. It gets no reply. */
export const magicPacket = encodePacket(magicCommand, 0, 'magic string :)');

/**
 * Decodes the packets in one message.
 * @throws RangeError if the bytes are not whole packets
 */
export function decodePackets(bytes: ArrayBuffer): Packet[] {
  const view = new DataView(bytes);
  const packets: Packet[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    // DataView throws a RangeError beyond the end.
    const field = (index: number) => view.getInt32(at + index * 4, true);
    const size = field(2);
    if (field(0) !== frameMark || size < headerSize || size > bytes.byteLength - at) {
      throw new RangeError(`no packet at byte ${at}`);
    }
    const blob = decoder.decode(new Uint8Array(bytes, at + headerSize, size - headerSize));
    packets.push({ uid: field(1), command: field(3), p1: field(4), time: field(5) >>> 0, blob });
    at += size;
  }
  return packets;
}
