/** Bytes in base64, RFC 4648 §4, as JSON has them. */
import { Buffer } from 'node:buffer';

/** @returns `undefined` for anything else: Node's own decoder passes over what is no base64 */
export function decodeBase64(text: unknown): Buffer | undefined {
  // Four characters for three bytes, to the end.
  const isBase64 = typeof text === 'string' && text.length % 4 === 0 && /^[A-Za-z\d+/]*={0,2}$/.test(text);
  return isBase64 ? Buffer.from(text, 'base64') : undefined;
}
