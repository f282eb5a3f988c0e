/**
 * Exercise 3: answer the handshake.
 *
 * `readHandshake` gets all bytes that have arrived so far, from the first one on. It answers one certain client, and only if the
 * whole head arrives at once. Change it:
 *
 * 1. It returns undefined while the head is incomplete: while there is no empty line, `\r\n\r\n`.
 * 2. It finds the header `Sec-WebSocket-Key` in any case of letters, and with or without spaces around the value. Without such a
 *    header it throws an `Error`.
 * 3. It computes the accept value: the SHA-1 of the key and `guid`, one behind the other, in base64.
 * 4. `rest` has the bytes behind the head.
 *
 * Some functions: `text.indexOf(part)` is the position of a part, or -1 if there is none. `text.slice(start, end)` is a part,
 * `text.split('\r\n')` an array of lines, `text.trim()` is without spaces at both ends, and `text.toLowerCase()` in small letters.
 * `bytes.subarray(start)` is the Buffer from `start` on. Each character of `head` below is one byte of `bytes`.
 */
import { createHash } from 'node:crypto';

/** RFC 6455 §1.3: the same for all servers. */
export const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export interface Answer {
  /** The response, with its empty line. */
  readonly response: string;
  /** The bytes behind the head. */
  readonly rest: Buffer;
}

/** An example: the SHA-1 of a text, as the 40 hexadecimal digits that `sha1sum` prints. */
export function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}

/** @param bytes all bytes that have arrived @throws Error if the request has no key */
export function readHandshake(bytes: Buffer): Answer | undefined {
  const head = bytes.toString('latin1');
  // A regular expression, as in regcomp(3); `[1]` is what its parentheses matched, `?? ''` is for no match.
  const key = /\r\nSec-WebSocket-Key: (.*)\r\n/.exec(head)?.[1] ?? '';
  const accept = sha1(key);
  const response =
    'HTTP/1.1 101 Switching Protocols\r\n' +
    'Upgrade: websocket\r\n' +
    'Connection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`;
  return { response, rest: Buffer.alloc(0) };
}
