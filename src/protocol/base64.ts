/** Base64 (RFC 4648 §4), which represents bytes in JSON, and base64url (§5), which does so in tokens. */
import { Buffer } from 'node:buffer';

/** @returns `undefined` if `text` is not valid base64; Node's decoder skips invalid characters */
export function decodeBase64(text: unknown): Buffer | undefined {
  // Four characters encode three bytes, with padding at the end.
  const isBase64 = typeof text === 'string' && text.length % 4 === 0 && /^[A-Za-z\d+/]*={0,2}$/.test(text);
  return isBase64 ? Buffer.from(text, 'base64') : undefined;
}

/**
 * Reads base64url without padding, as in JWTs (RFC 7515 §2).
 * @returns `undefined` unless `text` is what encoding the result gives: no bytes have two forms
 */
export function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}
