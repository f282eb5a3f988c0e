/** Checks on the options of TLS, and the files they name: certificates and private keys in PEM format (RFC 7468). */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { maxPemFile } from '../protocol/limits.ts';
import { UsageError } from './error.ts';
import { whyUnreadable } from './file.ts';
import { skipByteOrderMark } from './text.ts';

interface TlsValues {
  readonly tlsCert: readonly string[];
  readonly tlsKey: readonly string[];
  readonly tlsCa: readonly string[];
  readonly tlsClient: 'off' | 'ask' | 'require';
  readonly tlsOnly: boolean;
}

/** @throws UsageError if the options contradict each other */
export function checkTls({ tlsCert, tlsKey, tlsCa, tlsClient, tlsOnly }: TlsValues): void {
  if (tlsCert.length !== tlsKey.length) {
    const given = `${tlsCert.length} and ${tlsKey.length} are given`;
    throw new UsageError(
      `--tls-cert and --tls-key come in pairs, but ${given}; give one key for each certificate`,
    );
  }
  if (tlsCert.length === 0) {
    if (tlsOnly) throw new UsageError('--tls-only needs a certificate; give --tls-cert and --tls-key');
    if (tlsClient !== 'off') {
      throw new UsageError(`--tls-client ${tlsClient} needs a certificate; give --tls-cert and --tls-key`);
    }
  }
  if (tlsClient !== 'off' && tlsCa.length === 0) {
    throw new UsageError(
      `--tls-client ${tlsClient} needs the CA that signs client certificates; give --tls-ca`,
    );
  }
  if (tlsClient === 'off' && tlsCa.length > 0) {
    throw new UsageError('--tls-ca is for client certificates; add --tls-client ask or require');
  }
}

/** A file and the option that names it, for error messages. */
export interface NamedFile {
  /** As `--tls-cert`. */
  readonly option: string;
  readonly file: string;
}

/** A certificate chain and its private key. */
export interface PemPair {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly certificate: X509Certificate;
}

/** @throws UsageError if a file cannot be read or used, or the key is not the certificate's */
export async function readPemPair(certFile: NamedFile, keyFile: NamedFile): Promise<PemPair> {
  const [cert, key] = await Promise.all([readPem(certFile), readPem(keyFile)]);
  const certificate = parseCertificate(certFile, cert);
  const belongs = certificate.checkPrivateKey(parseKey(keyFile, key));
  // OpenSSL detects this too, except for a key of another type, with which every handshake would fail.
  if (!belongs)
    throw new UsageError(
      `${shown(keyFile)} is not the key of ${shown(certFile)}; give the key that the certificate was made for`,
    );
  return { cert, key, certificate };
}

/** The certificates of CAs. @throws UsageError */
export async function readAuthority(file: NamedFile): Promise<Buffer> {
  const pem = await readPem(file);
  parseCertificate(file, pem);
  return pem;
}

async function readPem(file: NamedFile): Promise<Buffer> {
  try {
    const about = await stat(file.file);
    // Shells pass `<(command)` as a pipe.
    if (!about.isFile() && !about.isFIFO()) throw new Error('it is not a regular file; choose another');
    if (about.size > maxPemFile) throw new Error('it is too large for certificates or a key; choose another');
    const pem = await readFile(file.file);
    // OpenSSL does not skip the byte order mark that some editors write.
    return skipByteOrderMark(pem);
  } catch (error) {
    throw new UsageError(`${shown(file)} cannot be read: ${whyUnreadable(error)}`);
  }
}

function parseKey(file: NamedFile, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    const why = pem.includes('ENCRYPTED')
      ? 'is encrypted, and the server cannot ask for a passphrase; decrypt it with openssl pkey'
      : 'contains no private key in PEM format; choose another file, or convert it with openssl pkey';
    throw new UsageError(`${shown(file)} ${why}`);
  }
}

/** The first certificate of a file. */
function parseCertificate(file: NamedFile, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new UsageError(
      `${shown(file)} contains no certificate in PEM format; choose another file, or convert it with openssl x509`,
    );
  }
}

function shown({ option, file }: NamedFile): string {
  return `${option} ${file}`;
}
