/** Access as configured: the table of rights and the keys. */
import type { Configuration } from '../options/configuration.ts';
import type { Server } from '../records/records.ts';
import { readKeys } from './keys.ts';
import type { Access } from './records.ts';

/**
 * Reads the table and the keys now and at every reload.
 * @throws UsageError if a key cannot be read or is too weak
 */
export function openAccess({ configuration, reloadables }: Server): Access {
  const access = readAccess(configuration);
  reloadables.push({
    async prepare(next) {
      const read = readAccess(next);
      return () => {
        Object.assign(access, read);
        return [];
      };
    },
  });
  return access;
}

function readAccess({ allow, authKey, authIssuer, authAudience, tokenCookie }: Configuration): Access {
  return {
    rules: allow,
    keys: readKeys(authKey),
    issuer: authIssuer,
    audience: authAudience,
    tokenCookie,
  };
}
