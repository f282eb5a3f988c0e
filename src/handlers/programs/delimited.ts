/** Texts with a byte between them: lines, or NUL-separated texts. A shared program's begin with ids and a space. */
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import type { Format, Said } from './format.ts';
import { checkRecipients, messageSaid } from './said.ts';

const CR = 0x0d;
const LF = 0x0a;
const space = 0x20;

/** Room for the ids before a text. */
const idRoom = 64 * 1024;

/** @param kind what messages have to be, for whoever sends another */
export function newDelimitedFormat(delimiter: number, kind: string, isShared: boolean): Format {
  return {
    delimiter,
    headerSize: 0,
    longest: size => size + idRoom,

    // A message with the delimiter inside would be several to the program, and the client would choose how they begin.
    message({ isText, bytes, start, end }, id) {
      if (!isText)
        throw new ProtocolError(CloseCode.UnsupportedData, `messages here are ${kind}, not binary`);
      const text = bytes.subarray(start, delimiter === LF ? lineEnd(bytes, start, end) : end);
      if (text.includes(delimiter))
        throw new ProtocolError(CloseCode.InvalidPayload, `messages here are ${kind}`);
      const prefix = isShared ? `${id} ` : '';
      const record = Buffer.allocUnsafe(prefix.length + text.length + 1);
      record.write(prefix, 'latin1');
      record.set(text, prefix.length);
      record[record.length - 1] = delimiter;
      return record;
    },

    read(bytes, start, end) {
      const stop = delimiter === LF ? withoutCr(bytes, start, end) : end;
      if (!isShared) return messageSaid([], true, bytes, start, stop);
      const found = bytes.subarray(start, stop).indexOf(space);
      const idsEnd = found < 0 ? stop : start + found;
      const to = readIds(bytes.toString('latin1', start, Math.min(idsEnd, start + idRoom)));
      return messageSaid(to, true, bytes, Math.min(idsEnd + 1, stop), stop);
    },
  };
}

/** Where a client's line ends: many send it with the line end (LF or CR LF) that they read it with. */
function lineEnd(bytes: Uint8Array, start: number, end: number): number {
  return end > start && bytes[end - 1] === LF ? withoutCr(bytes, start, end - 1) : end;
}

function withoutCr(bytes: Uint8Array, start: number, end: number): number {
  return end > start && bytes[end - 1] === CR ? end - 1 : end;
}

/** `7`, `7,9` or `*`. */
function readIds(word: string): Said['to'] {
  if (word === '*') return 'all';
  if (!/^\d{1,10}(?:,\d{1,10})*$/.test(word))
    throw new Error('a text that does not begin with ids and a space');
  return checkRecipients(word.split(',').map(Number));
}
