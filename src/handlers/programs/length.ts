/**
 * Records that begin with their length, for any bytes: four bytes with the payload's length, where the program is shared
 * four with the id, one with the kind, and the payload. Numbers are big-endian.
 */
import { CloseCode } from '../../protocol/codes.ts';
import type { Format, Said } from './format.ts';
import { closeSaid, messageSaid } from './said.ts';

/** Kinds of records: as the opcodes of RFC 6455 where they are the same. */
const Kind = { Opened: 0, Text: 1, Binary: 2, Close: 8 } as const;

/** Stands for everyone. */
const everyone = 0;

export function newLengthFormat(isShared: boolean): Format {
  const headerSize = isShared ? 9 : 5;

  function record(kind: number, id: number, payload: Uint8Array): Buffer {
    const bytes = Buffer.allocUnsafe(headerSize + payload.length);
    bytes.writeUInt32BE(payload.length, 0);
    if (isShared) bytes.writeUInt32BE(id, 4);
    bytes[headerSize - 1] = kind;
    bytes.set(payload, headerSize);
    return bytes;
  }

  return {
    delimiter: undefined,
    headerSize,
    longest: size => size + headerSize,

    message: ({ isText, bytes, start, end }, id) =>
      record(isText ? Kind.Text : Kind.Binary, id, bytes.subarray(start, end)),

    opened: (id, variables) => record(Kind.Opened, id, Buffer.from(JSON.stringify(variables))),

    closed(id, code, reason) {
      const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
      payload.writeUInt16BE(code);
      payload.write(reason, 2);
      return record(Kind.Close, id, payload);
    },

    read(bytes, start, end) {
      const payload = start + headerSize;
      const id = isShared ? bytes.readUInt32BE(start + 4) : everyone;
      const to: Said['to'] = !isShared ? [] : id === everyone ? 'all' : [id];
      const kind = bytes[payload - 1];
      if (kind === Kind.Text || kind === Kind.Binary) {
        return messageSaid(to, kind === Kind.Text, bytes, payload, end);
      }
      if (kind !== Kind.Close) throw new Error(`a record of the kind ${kind}, which there is not`);
      if (end === payload) return closeSaid(to, CloseCode.NormalClosure, '');
      if (end === payload + 1) throw new Error('half a close code');
      return closeSaid(to, bytes.readUInt16BE(payload), bytes.toString('utf8', payload + 2, end));
    },
  };
}
