/** Files of keys: what they may contain, and which algorithm that fixes. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { verifyToken } from '../../src/access/jwt.ts';
import { parseKeys, readKeys } from '../../src/access/keys.ts';
import { watchLog } from '../../src/log/log.ts';
import { signatureCost } from '../../src/protocol/accessLimits.ts';
import { workUnits } from '../../src/protocol/workUnits.ts';
import { run } from '../support/commandWays.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';
import { accessOf, pemOf, sitePairs, siteSecret, tokenOf } from '../support/tokens.ts';

const folder = temporaryFolder();
const { RS256, ES256, EdDSA } = sitePairs;

function algorithmsOf(content: string | Buffer | object): string[] {
  const isRaw = typeof content === 'string' || Buffer.isBuffer(content);
  return parseKeys(Buffer.from(isRaw ? content : JSON.stringify(content))).map(({ algorithm }) => algorithm);
}

const jwk = (pair: { publicKey: typeof RS256.publicKey }, more: object = {}) => ({
  ...pair.publicKey.export({ format: 'jwk' }),
  ...more,
});

describe('a file of --auth-key', () => {
  test('is a secret, a public key in PEM or a JWKS, and its type fixes the algorithm', () => {
    assert.deepEqual(algorithmsOf(siteSecret), ['HS256']);
    assert.deepEqual(algorithmsOf(Buffer.from(Array.from({ length: 32 }, (_, at) => 255 - at))), ['HS256']);
    assert.deepEqual(algorithmsOf(pemOf(RS256.publicKey)), ['RS256']);
    assert.deepEqual(algorithmsOf(RS256.publicKey.export({ type: 'pkcs1', format: 'pem' })), ['RS256']);
    assert.deepEqual(algorithmsOf(`\ufeff${pemOf(ES256.publicKey)}`), ['ES256']);
    assert.deepEqual(algorithmsOf(pemOf(EdDSA.publicKey)), ['EdDSA']);
    const secret = { kty: 'oct', k: Buffer.from(siteSecret).toString('base64url') };
    const keys = [jwk(RS256, { use: 'sig', kid: 'a' }), jwk(ES256, { alg: 'ES256' }), jwk(EdDSA), secret];
    assert.deepEqual(algorithmsOf({ keys }), ['RS256', 'ES256', 'EdDSA', 'HS256']);
    assert.deepEqual(parseKeys(Buffer.from(JSON.stringify({ keys })))[0]?.id, 'a');
  });

  test('may end in a newline, which is not part of the secret', () => {
    const secrets = ['', '\n', '\r\n'].map(end => parseKeys(Buffer.from(siteSecret + end))[0]!.key.export());
    for (const secret of secrets) assert.equal(String(secret), siteSecret);
    assert.equal(String(parseKeys(Buffer.from(`${siteSecret}\n\n`))[0]!.key.export()), `${siteSecret}\n`);
  });

  test('skips the keys of a JWKS that are for something else', () => {
    const others = [
      jwk(RS256, { use: 'enc' }),
      jwk(RS256, { alg: 'RS512' }),
      jwk(RS256, { key_ops: ['encrypt'] }),
      jwk(generateKeyPairSync('ec', { namedCurve: 'P-384' })),
      jwk(generateKeyPairSync('x25519')),
      { kty: 'PQC' },
    ];
    assert.deepEqual(algorithmsOf({ keys: [...others, jwk(EdDSA)] }), ['EdDSA']);
    assert.throws(() => algorithmsOf({ keys: others }), /its JWKS has no key to check RS256/);
  });

  const der = (type: 'spki' | 'pkcs1') => RS256.publicKey.export({ type, format: 'der' });
  const unfit: [string, string | Buffer | object, RegExp][] = [
    ['that is empty', '', /a secret has at least 32 bytes, chosen at random; make one with: openssl rand/],
    ['that is a short secret', 'x1'.repeat(15), /a secret has at least 32 bytes/],
    ['that is short but for its newline', `${siteSecret.slice(0, 31)}\n`, /a secret has at least 32 bytes/],
    [
      'that is one letter again and again',
      'a'.repeat(64),
      /a secret has at least 32 bytes, chosen at random/,
    ],
    ['that is a private key', pemOf(RS256.privateKey), /it is a private key, and only its public half/],
    ['with a private key in its JWKS', { keys: [EdDSA.privateKey.export({ format: 'jwk' })] }, /private key/],
    ['that is a public key in DER', der('spki'), /a public key without its PEM lines/],
    ['that is a public key in PKCS #1 and DER', der('pkcs1'), /a public key without its PEM lines/],
    ['that is a PEM without its lines', der('spki').toString('base64'), /a public key without its PEM lines/],
    ['that is a key of SSH', `ssh-ed25519 ${'A1b2C3d4'.repeat(9)} me@here`, /it is a key of SSH/],
    ['with two PEM blocks', pemOf(RS256.publicKey) + pemOf(ES256.publicKey), /it has several PEM blocks/],
    ['with damaged PEM', pemOf(RS256.publicKey).replace(/\n.*\n/, '\n'), /its PEM is damaged; copy it again/],
    ['with a certificate', '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n', /openssl x509/],
    ['with 1,024 bits of RSA', pemOf(weakRsa(1024).publicKey), /its RSA key has 1024 bits; use 2048 to 8192/],
    ['with the exponent 1', { keys: [jwk(RS256, { e: 'AQ' })] }, /exponent below 3|is damaged/],
    ['on another curve', pemOf(curve('P-384').publicKey), /its key is on the curve secp384r1; use RSA/],
    [
      'of another type',
      pemOf(generateKeyPairSync('ed448').publicKey),
      /its key is of the type ed448; use RSA/,
    ],
    ['that is broken JSON', '{"keys":[', /expected/],
    ['that is JSON of another kind', { issuer: 'https://a' }, /it is JSON without a list "keys"/],
    [
      'with a secret of 16 bytes in its JWKS',
      { keys: [{ kty: 'oct', k: 'AAECAwQFBgcICQoLDA0ODw' }] },
      /32 bytes/,
    ],
    ['with a damaged key in its JWKS', { keys: [jwk(RS256, { n: '!' })] }, /is damaged|has \d+ bits/],
    ['with a "kid" that is a number', { keys: [jwk(EdDSA, { kid: 7 })] }, /"kid" that is not a text/],
  ];
  for (const [what, content, sentence] of unfit)
    test(`${what} is refused, and the reason says what to do`, () => {
      assert.throws(() => algorithmsOf(content), sentence);
    });

  test('that is missing, or too many keys, keep the server from starting', async () => {
    const missing = join(folder, 'missing');
    const told = await run(['-p', '0', '--control', 'none', '--config', 'none', '--auth-key', missing]);
    assert.deepEqual([told.exit, told.stdout], [2, '']);
    assert.match(
      told.stderr,
      /^pollywog: cannot read the key in ".*missing": no such file; name a file that contains the key\n$/,
    );
    const path = join(folder, 'many');
    writeFileSync(path, JSON.stringify({ keys: Array.from({ length: 17 }, () => jwk(EdDSA)) }));
    assert.equal(readKeys([path]).length, 17);
    assert.throws(() => readKeys([path, path]), /have 34 keys; the limit is 32/);
  });

  test('with a secret that everyone can read is accepted with a warning', () => {
    const path = join(folder, 'secret');
    rmSync(path, { force: true });
    writeFileSync(path, siteSecret);
    chmodSync(path, 0o644);
    const lines: string[] = [];
    const unwatch = watchLog(line => lines.push(line) > 0, 'warn');
    readKeys([path]);
    chmodSync(path, 0o600);
    readKeys([path]);
    unwatch();
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /key readable by everyone.*secret/);
  });
});

function weakRsa(modulusLength: number) {
  return generateKeyPairSync('rsa', { modulusLength });
}

function curve(namedCurve: string) {
  return generateKeyPairSync('ec', { namedCurve });
}

test('each signature that is checked with a public key is charged as work', () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keys = [other, ES256].flatMap(({ publicKey }) => parseKeys(Buffer.from(pemOf(publicKey))));
  const now = Date.now();
  const claims = { sub: '17', exp: Math.floor(now / 1000) + 60 };
  const before = workUnits.spent;
  assert.equal(verifyToken(accessOf({ keys }), tokenOf(claims, {}, 'ES256'), now).identity?.user, '17');
  assert.equal(workUnits.spent - before, 2 * signatureCost);
});
