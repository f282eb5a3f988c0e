/** Keys and tokens of a site, as its own library would make them. */
import {
  createHmac,
  generateKeyPairSync,
  type KeyObject,
  type KeyPairKeyObjectResult,
  sign,
} from 'node:crypto';
import { parseKeys } from '../../src/access/keys.ts';
import type { Access, Key } from '../../src/access/records.ts';

/** The secret of the site, and its pairs of keys. */
export const siteSecret = 'f27cd1b01b0cb42db35ad3da1d0b8a7dd1ecde57bb8b5a6e7f4b6c6ca21c0f1e';
export const sitePairs = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
} as const satisfies Record<string, KeyPairKeyObjectResult>;

export function pemOf(key: KeyObject): string {
  return String(key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }));
}

/** All keys of the site, as one `--auth-key` each would give them. */
export function siteKeys(): Key[] {
  const pems = Object.values(sitePairs).map(({ publicKey }) => pemOf(publicKey));
  return [siteSecret, ...pems].flatMap(text => parseKeys(Buffer.from(text)));
}

export function accessOf(more: Partial<Access> = {}): Access {
  return { rules: [], keys: siteKeys(), issuer: '', audience: '', tokenCookie: '', ...more };
}

export type Json = Readonly<Record<string, unknown>>;

export function base64url(value: Json | string | Buffer): string {
  if (Buffer.isBuffer(value)) return value.toString('base64url');
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}

type Algorithm = Key['algorithm'];

function signatureOf(algorithm: Algorithm, data: string): Buffer {
  if (algorithm === 'HS256') return createHmac('sha256', siteSecret).update(data).digest();
  const { privateKey } = sitePairs[algorithm];
  if (algorithm === 'EdDSA') return sign(null, Buffer.from(data), privateKey);
  return sign('sha256', Buffer.from(data), { key: privateKey, dsaEncoding: 'ieee-p1363' });
}

/** A token that the site has signed. @param header further fields of its header, or others @param by what signs it */
export function tokenOf(
  claims: Json | string | Buffer,
  header: Json | string = {},
  by: Algorithm = 'HS256',
): string {
  const head = typeof header === 'string' ? header : { alg: by, typ: 'JWT', ...header };
  const data = `${base64url(head)}.${base64url(claims)}`;
  return `${data}.${signatureOf(by, data).toString('base64url')}`;
}

/** The signature of a link. @param until seconds since 1970 */
export function linkSignature(
  path: string,
  user: string,
  until: number | string,
  secret = siteSecret,
): string {
  return createHmac('sha256', secret).update(`${path}\n${user}\n${until}`).digest('hex');
}

/** The URL of a signed link. @param path percent-decoded */
export function linkOf(path: string, user: string, until: number | string): string {
  const query = new URLSearchParams({ user, until: String(until), sign: linkSignature(path, user, until) });
  return `${encodeURI(path)}?${query}`;
}
