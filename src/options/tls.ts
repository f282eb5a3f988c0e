/** The options of TLS: what they may be, and what goes with what. */
import { UsageError } from './error.ts';
import type { OptionTable } from './option.ts';
import { choice, flag, type Kind } from './values.ts';

/** A file in the PEM format; whoever uses it reads it. */
export const pemFile: Kind<string> = {
  placeholder: 'FILE',
  expected: 'the path of a file',
  parse: raw => (typeof raw === 'string' && raw !== '' && !raw.includes('\0') ? raw : undefined),
  show: path => path,
};

export const tlsOptions = {
  tlsCert: {
    kind: pemFile,
    repeatable: true,
    default: [],
    group: 'TLS, on the same ports',
    help: 'certificate chain (PEM)',
  },
  tlsKey: {
    kind: pemFile,
    repeatable: true,
    default: [],
    group: 'TLS, on the same ports',
    help: 'its private key; SNI chooses among pairs',
  },
  tlsCa: {
    kind: pemFile,
    repeatable: true,
    default: [],
    group: 'TLS, on the same ports',
    help: 'CA that signs client certificates',
  },
  tlsClient: {
    kind: choice(['off', 'ask', 'require'], 'WORD'),
    default: 'off',
    group: 'TLS, on the same ports',
    help: 'client certificates: off, ask or require',
  },
  tlsOnly: {
    kind: flag,
    default: false,
    group: 'TLS, on the same ports',
    help: 'refuse plain connections',
  },
} as const satisfies OptionTable;

interface TlsValues {
  readonly tlsCert: readonly string[];
  readonly tlsKey: readonly string[];
  readonly tlsCa: readonly string[];
  readonly tlsClient: 'off' | 'ask' | 'require';
  readonly tlsOnly: boolean;
}

/** @throws UsageError where they do not fit together */
export function checkTls({ tlsCert, tlsKey, tlsCa, tlsClient, tlsOnly }: TlsValues): void {
  if (tlsCert.length !== tlsKey.length) {
    const given = `${tlsCert.length} and ${tlsKey.length} are given`;
    throw new UsageError(`--tls-cert and --tls-key come in pairs, but ${given}`);
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
