/** A solution of exercise 3. */
import { createHash } from 'node:crypto';

/** RFC 6455 §1.3: the same for all servers. */
export const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export interface Answer {
  /** The response, with its empty line. */
  readonly response: string;
  /** The bytes behind the head. */
  readonly rest: Buffer;
}

/** @param bytes all bytes that have arrived @throws Error if the request has no key */
export function readHandshake(bytes: Buffer): Answer | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const head = bytes.toString('latin1', 0, end + 2);
  const key = /\r\nSec-WebSocket-Key:[ \t]*(.*?)[ \t]*\r\n/i.exec(head)?.[1];
  if (key === undefined) throw new Error('the request has no Sec-WebSocket-Key');
  const accept = createHash('sha1').update(`${key}${guid}`).digest('base64');
  const response =
    'HTTP/1.1 101 Switching Protocols\r\n' +
    'Upgrade: websocket\r\n' +
    'Connection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`;
  return { response, rest: bytes.subarray(end + 4) };
}
