/**
 * JSON Web Tokens (RFC 7519) in the compact form of JWS (RFC 7515), as RFC 8725 advises: the key fixes the algorithm,
 * claims have fixed types, and unknown extensions are refused.
 */

import { isUtf8 } from 'node:buffer';
import { constants, createHmac, timingSafeEqual, verify } from 'node:crypto';
import { isObject, readJson } from '../options/json.ts';
import { clockLeeway, maxCredentialLifetime, maxJwtLength, signatureCost } from '../protocol/accessLimits.ts';
import { decodeBase64url } from '../protocol/base64.ts';
import { type Pattern, parsePattern } from '../protocol/pattern.ts';
import { workUnits } from '../protocol/workUnits.ts';
import type { Access, Identity, Key, Verified } from './records.ts';
import { userFault } from './users.ts';

type Claims = Readonly<Record<string, unknown>>;

/** A token that is not valid, with a sentence about it. */
class TokenFault extends Error {}

/**
 * Checks a token.
 * @param now milliseconds since 1970
 */
export function verifyToken(access: Access, token: string, now: number): Verified {
  try {
    return { identity: readToken(access, token, now) };
  } catch (error) {
    if (error instanceof TokenFault) return { fault: error.message };
    throw error;
  }
}

function readToken({ keys, issuer, audience }: Access, token: string, now: number): Identity {
  if (token.length > maxJwtLength)
    throw new TokenFault(`the token is longer than ${maxJwtLength} characters`);
  const parts = token.split('.', 6);
  if (parts.length === 5) throw new TokenFault('the token is encrypted; send one that is signed only');
  const [head = '', body = '', tail = ''] = parts;
  const signature = decodeBase64url(tail);
  if (parts.length !== 3 || head === '' || body === '' || signature === undefined)
    throw new TokenFault('the token is not a JWT');
  checkSignature(keys, readPart(head), Buffer.from(`${head}.${body}`), signature);
  const claims = readPart(body);
  const expiresAt = checkTimes(claims, now);
  checkParties(claims, issuer, audience);
  return {
    user: readUser(claims['sub']),
    means: 'token',
    subscribe: readPatterns(claims, 'channels'),
    publish: readPatterns(claims, 'publish'),
    expiresAt,
  };
}

/** Decodes a part: a JSON object whose names are unique (RFC 7519 §4, RFC 7515 §4). */
function readPart(part: string): Claims {
  const bytes = decodeBase64url(part);
  if (bytes !== undefined && isUtf8(bytes)) {
    try {
      const value = readJson(bytes.toString('utf8'));
      if (isObject(value)) return value;
    } catch {}
  }
  throw new TokenFault('the token is not a JWT');
}

/** Types of tokens that identify a client (RFC 7519 §5.1, RFC 9068 §2.1). Other types are for other uses of the same key. */
const types: readonly unknown[] = [undefined, 'jwt', 'at+jwt', 'application/at+jwt'];

function checkSignature(keys: readonly Key[], header: Claims, data: Buffer, signature: Buffer): void {
  const { alg, kid, typ, crit } = header;
  // RFC 7515 §4.1.11: an extension that is not understood makes the token invalid.
  if (crit !== undefined)
    throw new TokenFault('the token needs extensions ("crit"), which this server does not support');
  if (!types.includes(typeof typ === 'string' ? typ.toLowerCase() : typ))
    throw new TokenFault('the token is of a type ("typ") for another use');
  if (kid !== undefined && typeof kid !== 'string')
    throw new TokenFault('the "kid" of the token is not a text');
  const fit = keys.filter(({ algorithm }) => algorithm === alg);
  if (fit.length === 0)
    throw new TokenFault('no key of this server is for the algorithm ("alg") of the token');
  const named = fit.filter(({ id }) => kid === undefined || id === undefined || id === kid);
  if (named.length === 0) throw new TokenFault('this server has no key with the name ("kid") in the token');
  if (!named.some(key => isSigned(key, data, signature)))
    throw new TokenFault('the signature of the token is wrong');
}

function isSigned({ algorithm, key }: Key, data: Buffer, signature: Buffer): boolean {
  if (algorithm !== 'HS256') workUnits.spent += signatureCost;
  switch (algorithm) {
    case 'HS256': {
      const expected = createHmac('sha256', key).update(data).digest();
      return signature.length === expected.length && timingSafeEqual(signature, expected);
    }
    case 'RS256':
      return verify('sha256', data, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
    case 'ES256':
      // RFC 7518 §3.4: R and S, not DER.
      return signature.length === 64 && verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature);
    case 'EdDSA':
      return verify(null, data, key, signature);
  }
}

/** @returns when the token expires, in milliseconds since 1970 */
function checkTimes(claims: Claims, now: number): number {
  if (claims['exp'] === undefined) throw new TokenFault('the token has no "exp", the time when it expires');
  const exp = readTime(claims, 'exp');
  if (exp > now + maxCredentialLifetime)
    throw new TokenFault('the "exp" of the token is too far ahead: it is in seconds since 1970');
  // RFC 7519 §4.1.4: the time must be before "exp".
  if (now >= exp + clockLeeway) throw new TokenFault('the token has expired');
  if (claims['nbf'] !== undefined && readTime(claims, 'nbf') > now + clockLeeway)
    throw new TokenFault('the token is not valid yet ("nbf")');
  if (claims['iat'] !== undefined && readTime(claims, 'iat') > now + clockLeeway)
    throw new TokenFault('the token was made in the future ("iat"): compare the clocks');
  // A token accepted within the leeway expires when the leeway ends.
  return now < exp ? exp : exp + clockLeeway;
}

function readTime(claims: Claims, name: string): number {
  const seconds = claims[name];
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds < 0)
    throw new TokenFault(`the "${name}" of the token is not a number of seconds since 1970`);
  return seconds * 1000;
}

/** RFC 7519 §4.1.3: a token with an audience is refused unless `--auth-audience` names it. */
function checkParties({ iss, aud }: Claims, issuer: string, audience: string): void {
  if (issuer !== '' && iss !== issuer) throw new TokenFault('the token is from another issuer ("iss")');
  const named = Array.isArray(aud) ? aud : aud === undefined ? [] : [aud];
  const isForUs = audience === '' ? aud === undefined : named.includes(audience);
  if (!isForUs) throw new TokenFault('the token is for another audience ("aud"); see --auth-audience');
}

/** Many sites number their users, and some libraries write `sub` as a JSON number. */
function readUser(sub: unknown): string {
  const user = typeof sub === 'number' && Number.isSafeInteger(sub) && sub >= 0 ? String(sub) : sub;
  if (user === undefined) throw new TokenFault('the token has no "sub", the name of the user');
  if (typeof user !== 'string') throw new TokenFault('the "sub" of the token is not a text');
  const fault = userFault(user);
  if (fault !== undefined) throw new TokenFault(`the "sub" of the token is not valid: ${fault}`);
  return user;
}

function readPatterns(claims: Claims, name: string): readonly Pattern[] {
  const list = claims[name];
  if (list === undefined) return [];
  if (!Array.isArray(list) || !list.every(one => typeof one === 'string'))
    throw new TokenFault(`the "${name}" of the token is not a list of texts`);
  return list.map(source => {
    const pattern = parsePattern(source);
    if (typeof pattern === 'string') throw new TokenFault(`in the "${name}" of the token: ${pattern}`);
    return pattern;
  });
}
