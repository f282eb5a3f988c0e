/** Access as configured: the table of rights and the keys. */
import { log } from '../log/log.ts';
import type { Configuration } from '../options/configuration.ts';
import { quoted } from '../options/error.ts';
import type { Rule } from '../options/rules.ts';
import type { Server } from '../records/records.ts';
import { readKeys } from './keys.ts';
import type { Access, Key } from './records.ts';

/**
 * Reads the table and the keys now and at every reload.
 * @throws UsageError if a key cannot be read or is too weak
 */
export function openAccess({ configuration, reloadables }: Server): Access {
  const access = readAccess(configuration);
  warnWithoutKeys(configuration);
  warnWithoutUsers(configuration);
  reloadables.push({
    async prepare(next) {
      const read = readAccess(next);
      return () => {
        const changes = changesOf(access.keys, read.keys);
        Object.assign(access, read);
        warnWithoutKeys(next);
        warnWithoutUsers(next);
        return changes;
      };
    },
  });
  return access;
}

/** Sentences without the keys. */
function changesOf(before: readonly Key[], after: readonly Key[]): string[] {
  const missingIn = (list: readonly Key[]) => (one: Key) =>
    list.every(other => other.id !== one.id || !other.key.equals(one.key));
  const show = ({ algorithm, id }: Key) => (id === undefined ? algorithm : `${algorithm} ${quoted(id)}`);
  return [
    ...after.filter(missingIn(before)).map(one => `key added: ${show(one)}`),
    ...before.filter(missingIn(after)).map(one => `key removed: ${show(one)}`),
  ];
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

/** Without a key, the server accepts no token, so the other options of tokens have no effect. */
function warnWithoutKeys({ authKey, authIssuer, authAudience, tokenCookie }: Configuration): void {
  if (authKey.length > 0) return;
  const idle = { 'auth-issuer': authIssuer, 'auth-audience': authAudience, 'token-cookie': tokenCookie };
  for (const [option, value] of Object.entries(idle))
    if (value !== '') log('warn', 'nothing to verify', { option, remedy: 'tokens need a key: --auth-key' });
}

/** A rule for users refuses everyone if no option identifies users. */
function warnWithoutUsers({ allow, authKey, authUrl, handlers, nick }: Configuration): void {
  if (authKey.length > 0 || authUrl !== 'none') return;
  // A module may name the users of its own handler (`admit`).
  const hasModules = handlers !== '';
  const rule = allow.find(({ grants, pattern }) => {
    const { connect, ...others } = grants;
    return isForUsers({ grants: hasModules ? others : grants, pattern });
  });
  if (rule === undefined && nick !== 'user') return;
  const shown = rule?.line ?? '--nick user';
  log('warn', 'users cannot be identified', {
    rule: shown,
    remedy: 'identify users with --auth-key or --auth-url',
  });
}

function isForUsers({ grants, pattern: { namesUser } }: Pick<Rule, 'grants' | 'pattern'>): boolean {
  return Object.values(grants).some(
    who => who === 'user' || who === 'token' || (namesUser && (who === 'anyone' || who === 'subscribers')),
  );
}
