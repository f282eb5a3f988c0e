/** Certificates that openssl makes for a test, in a temporary folder. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { temporaryFolder } from './temporaryFolder.ts';

/** Paths of PEM files. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export const certificateFolder = temporaryFolder();

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
let made = 0;

function openssl(...words: string[]): void {
  execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'pipe'], cwd: certificateFolder });
}

/**
 * @param names DNS names; none for a certificate that has only a CN
 * @param issuer signs the certificate. Default: self-signed
 */
export function makeCertificate(
  commonName: string,
  { names = [], issuer }: { names?: readonly string[]; issuer?: Identity } = {},
): Identity {
  const file = (kind: string) => join(certificateFolder, `${made}-${commonName.replace(/\W/g, '_')}.${kind}`);
  made++;
  const identity = { cert: file('crt'), key: file('key') };
  const alternative =
    names.length === 0 ? [] : ['-addext', `subjectAltName=${names.map(name => `DNS:${name}`).join(',')}`];
  const subject = ['-subj', `/O=Pond/CN=${commonName}`];
  if (issuer === undefined) {
    openssl(
      ...['req', '-x509', ...curve, '-days', '2', ...subject, ...alternative],
      ...['-keyout', identity.key, '-out', identity.cert],
    );
    return identity;
  }
  openssl(...['req', ...curve, ...subject, ...alternative, '-keyout', identity.key, '-out', file('csr')]);
  openssl(
    ...['x509', '-req', '-in', file('csr'), '-CA', issuer.cert, '-CAkey', issuer.key, '-days', '2'],
    ...['-set_serial', String(1000 + made), '-copy_extensions', 'copy', '-out', identity.cert],
  );
  return identity;
}

/** The server's options for these certificates. */
export function tlsOptions(...identities: readonly Identity[]): string[] {
  return identities.flatMap(({ cert, key }) => ['--tls-cert', cert, '--tls-key', key]);
}
