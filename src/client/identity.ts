/** What the client shows and trusts in TLS: its own certificate, and the authorities of servers. */
import { createSecureContext, type SecureContext } from 'node:tls';
import { UsageError } from '../options/error.ts';
import { readAuthority, readPemPair } from '../options/tls.ts';
import type { Configuration } from './configuration.ts';

/**
 * Reads the files once, so that dialing again needs none of them.
 * @returns undefined if no option names one
 * @throws UsageError with the option and the file
 */
export async function readIdentity({ cert, key, ca }: Configuration): Promise<SecureContext | undefined> {
  if (cert === '' && ca.length === 0) return undefined;
  const authorities = await Promise.all(ca.map(file => readAuthority({ option: '--ca', file })));
  const pair =
    cert === ''
      ? undefined
      : await readPemPair(
          { option: '--cert', file: cert },
          { option: '--key', file: key === '' ? cert : key },
        );
  try {
    return createSecureContext({
      ...(pair === undefined ? {} : { cert: pair.cert, key: pair.key }),
      ...(authorities.length === 0 ? {} : { ca: authorities }),
    });
  } catch (error) {
    throw new UsageError(`--cert ${cert} cannot be used: ${(error as Error).message}`);
  }
}
