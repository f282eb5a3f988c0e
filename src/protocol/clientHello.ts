/**
 * The first message of TLS (RFC 8446 §4, §5.1), as far as its length goes. OpenSSL allocates the length that the first bytes
 * announce, so it gets no byte before the message is whole.
 */

import { CloseCode, ProtocolError } from './codes.ts';
import { maxClientHello, maxTlsRecord } from './tlsLimits.ts';

/** The type of a record with a piece of a handshake message, and the type of the first message. */
export const handshakeRecord = 0x16;
const clientHello = 1;

/** Type, version and length of a record; type and length of a message. */
const recordHeader = 5;
const messageHeader = 4;

const fail = (reason: string): never => {
  throw new ProtocolError(CloseCode.ProtocolError, reason);
};

/**
 * Whether `bytes[start, end)` have a whole ClientHello. It may be in several records.
 * @throws ProtocolError as soon as the bytes cannot become one, or announce more than `maxClientHello`
 */
export function isClientHelloWhole(bytes: Buffer, start: number, end: number): boolean {
  let arrived = 0;
  /** The bytes of the message's header, as a number, and how many of them are known. */
  let header = 0;
  let known = 0;
  for (let at = start; ; ) {
    if (at < end && bytes[at] !== handshakeRecord) fail('the first message has a record of another type');
    if (end - at < recordHeader) return false;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > maxTlsRecord) fail('a record is empty or too long');
    at += recordHeader;
    const recordEnd = at + length;
    const pieceEnd = Math.min(recordEnd, end);
    arrived += pieceEnd - at;
    for (; known < messageHeader && at < pieceEnd; known++) header = 256 * header + bytes[at++]!;
    if (known > 0 && Math.floor(header / 256 ** (known - 1)) !== clientHello)
      fail('the first message is of another type');
    if (known === messageHeader) {
      const size = header % 2 ** 24;
      if (size > maxClientHello) fail(`the first message has ${size} bytes; the limit is ${maxClientHello}`);
      if (arrived >= messageHeader + size) return true;
    }
    if (recordEnd > end) return false;
    at = recordEnd;
  }
}
