/** The keys of `--auth-key`: a secret for HS256, a public key in PEM, or a JWKS (RFC 7517). */
import {
  createPublicKey,
  createSecretKey,
  type JsonWebKey,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { UsageError } from '../options/error.ts';
import { isObject, readJson } from '../options/json.ts';
import { readText } from '../options/text.ts';
import {
  maxKeyFile,
  maxKeys,
  maxRsaBits,
  maxUserLength,
  minRsaBits,
  minSecretBytes,
  minSecretLength,
} from '../protocol/accessLimits.ts';
import { decodeBase64url } from '../protocol/base64.ts';
import type { Key } from './records.ts';
import { readSecretFile, warnIfOpen } from './secretFile.ts';

/** @throws UsageError if a file cannot be read, or a key is invalid or weak */
export function readKeys(paths: readonly string[]): readonly Key[] {
  const keys = paths.flatMap(path => {
    const found = readSecretFile('key', path, maxKeyFile, parseKeys);
    if (found.some(({ algorithm }) => algorithm === 'HS256')) warnIfOpen('key', path);
    return found;
  });
  if (keys.length > maxKeys)
    throw new UsageError(`the files of --auth-key have ${keys.length} keys; the limit is ${maxKeys}`);
  return keys;
}

/**
 * Bytes are a secret only if they cannot be a key of another kind: with a public key as the secret, anyone could sign.
 * @throws Error with a sentence
 */
export function parseKeys(bytes: Buffer): readonly Key[] {
  // In latin1 every byte is valid.
  const text = bytes
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '')
    .trim();
  if (text.startsWith('{') || text.startsWith('[')) return parseJwks(readText('it', bytes));
  if (text.includes('-----BEGIN ')) return [parsePem(text)];
  if (/^(ssh-|ecdsa-sha2-|sk-)/.test(text))
    throw new Error('it is a key of SSH; convert it with: ssh-keygen -e -m PKCS8 -f FILE');
  if (isDer(bytes) || isDer(Buffer.from(text.replace(/\s+/g, ''), 'base64')))
    throw new Error(
      'it is a public key without its PEM lines; convert it with: openssl pkey -pubin -inform DER',
    );
  return [{ algorithm: 'HS256', key: secretKey(withoutNewline(bytes)), id: undefined }];
}

/** Editors and `echo` end a file with a newline, which is not part of the secret. */
function withoutNewline(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}

function isDer(bytes: Buffer): boolean {
  // Every key and certificate is a sequence (X.690 §8.9).
  if (bytes[0] !== 0x30) return false;
  const readers = [
    () => createPublicKey({ key: bytes, format: 'der', type: 'spki' }),
    () => createPublicKey({ key: bytes, format: 'der', type: 'pkcs1' }),
    () => new X509Certificate(bytes),
  ];
  return readers.some(succeeds);
}

function succeeds(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}

function secretKey(secret: Buffer): KeyObject {
  if (secret.length < minSecretLength || new Set(secret).size < minSecretBytes)
    throw new Error(
      `a secret has at least ${minSecretLength} bytes, chosen at random; make one with: openssl rand -hex 32`,
    );
  return createSecretKey(secret);
}

function parsePem(text: string): Key {
  const labels = [...text.matchAll(/-----BEGIN ([^-]+)-----/g)].map(([, label]) => label!);
  if (labels.some(label => label.includes('PRIVATE')))
    throw new Error(
      'it is a private key, and only its public half is needed; make it with: openssl pkey -pubout',
    );
  if (labels.length !== 1)
    throw new Error(
      'it has several PEM blocks; put each public key into a file of its own, each with an --auth-key',
    );
  if (labels[0] !== 'PUBLIC KEY' && labels[0] !== 'RSA PUBLIC KEY')
    throw new Error(
      `it is a ${labels[0]}, not a public key; extract the key of a certificate with: openssl x509 -pubkey -noout`,
    );
  try {
    return verifyingKey(createPublicKey(text), undefined);
  } catch (error) {
    throw isOfOpenssl(error) ? new Error('its PEM is damaged; copy it again') : error;
  }
}

function isOfOpenssl(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code !== undefined;
}

/** @throws Error if no algorithm takes a key of this kind, or it is too weak */
function verifyingKey(key: KeyObject, id: string | undefined): Key {
  const {
    asymmetricKeyType: type,
    asymmetricKeyDetails: { modulusLength = 0, publicExponent, namedCurve } = {},
  } = key;
  if (type === 'ed25519') return { algorithm: 'EdDSA', key, id };
  if (type === 'ec' && namedCurve === 'prime256v1') return { algorithm: 'ES256', key, id };
  if (type !== 'rsa') {
    const found = type === 'ec' ? `on the curve ${namedCurve}` : `of the type ${type}`;
    throw new Error(`its key is ${found}; use RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)`);
  }
  if (modulusLength < minRsaBits || modulusLength > maxRsaBits)
    throw new Error(`its RSA key has ${modulusLength} bits; use ${minRsaBits} to ${maxRsaBits}`);
  // With the exponent 1, everything is a signature of itself.
  if (publicExponent === undefined || publicExponent < 3n)
    throw new Error('its RSA key has an exponent below 3; make another key');
  return { algorithm: 'RS256', key, id };
}

/** The algorithm for a JWK's `kty` and `crv`. */
const jwkAlgorithms: ReadonlyMap<string, Key['algorithm']> = new Map([
  ['RSA', 'RS256'],
  ['EC P-256', 'ES256'],
  ['OKP Ed25519', 'EdDSA'],
  ['oct', 'HS256'],
]);

function parseJwks(text: string): readonly Key[] {
  const set = readJson(text);
  if (!isObject(set) || !Array.isArray(set['keys']))
    throw new Error('it is JSON without a list "keys", as a JWKS has one');
  const keys = set['keys'].flatMap(one => parseJwk(one) ?? []);
  if (keys.length === 0)
    throw new Error('its JWKS has no key to check RS256, ES256, EdDSA or HS256; add one with the "use" sig');
  return keys;
}

/** @returns undefined for a key of another use or algorithm: RFC 7517 §5 wants it ignored */
function parseJwk(jwk: unknown): Key | undefined {
  if (!isObject(jwk)) throw new Error('a key of its JWKS is not an object');
  const { kty, crv, use, key_ops: uses, alg, kid } = jwk;
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > maxUserLength))
    throw new Error(
      `a key of its JWKS has a "kid" that is not a text of at most ${maxUserLength} characters`,
    );
  if (kty !== 'oct' && jwk['d'] !== undefined)
    throw new Error('its JWKS has a private key ("d"); keep only the public halves');
  const algorithm = jwkAlgorithms.get(crv === undefined ? String(kty) : `${kty} ${crv}`);
  if (algorithm === undefined || (alg !== undefined && alg !== algorithm)) return undefined;
  if (use !== undefined && use !== 'sig') return undefined;
  if (uses !== undefined && !(Array.isArray(uses) && uses.includes('verify'))) return undefined;
  if (algorithm === 'HS256') return { algorithm, key: secretKey(octets(jwk['k'])), id: kid };
  try {
    return verifyingKey(createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' }), kid);
  } catch (error) {
    throw isOfOpenssl(error) ? new Error(`the ${kty} key of its JWKS is damaged; copy it again`) : error;
  }
}

function octets(value: unknown): Buffer {
  const secret = typeof value === 'string' ? decodeBase64url(value) : undefined;
  if (secret === undefined) throw new Error('a key of its JWKS has a "k" that is not in base64url');
  return secret;
}
