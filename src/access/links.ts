/**
 * Signed links: `PATH?user=USER&until=UNTIL&sign=SIGN`, where SIGN is the HMAC-SHA256 of `PATH\nUSER\nUNTIL` in hexadecimal.
 * PATH and USER are signed before they are percent-encoded. Neither contains a newline, and no token begins with a slash, so the
 * signed text has only one meaning.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { maxCredentialLifetime } from '../protocol/accessLimits.ts';
import type { Head } from '../protocol/http/head.ts';
import { isQueryUtf8, percentDecode } from '../protocol/http/path.ts';
import { literalPattern } from '../protocol/pattern.ts';
import type { Access, Verified } from './records.ts';
import { channelPath } from './rights.ts';
import { userFault } from './users.ts';

/**
 * Checks a link, whose user may subscribe to the channel of its path.
 * @param query that of the head
 * @param now milliseconds since 1970
 */
export function verifyLink({ keys }: Access, head: Head, query: URLSearchParams, now: number): Verified {
  if (!isQueryUtf8(head.query)) return { fault: 'the query of the link is not percent-encoded UTF-8' };
  const [user, until, sign] = ['user', 'until', 'sign'].map(name => query.getAll(name));
  if (user?.length !== 1 || until?.length !== 1 || sign?.length !== 1)
    return { fault: 'a signed link has "user", "until" and "sign", each once' };
  return verifySigned(keys, { path: head.path, user: user[0]!, until: until[0]!, sign: sign[0]! }, now);
}

interface Link {
  readonly path: string;
  readonly user: string;
  readonly until: string;
  readonly sign: string;
}

function verifySigned(keys: Access['keys'], { path, user, until, sign }: Link, now: number): Verified {
  const signed = signedPath(path);
  if (signed === undefined) return { fault: 'the path of the link is not valid' };
  const fault = userFault(user);
  if (fault !== undefined) return { fault: `the user of the link is not valid: ${fault}` };
  if (!/^[1-9]\d{0,14}$/.test(until))
    return { fault: 'the "until" of the link is not a number of seconds since 1970' };
  if (!/^[\da-f]{64}$/i.test(sign)) return { fault: 'the "sign" of the link is not 64 hexadecimal digits' };
  const secrets = keys.filter(({ algorithm }) => algorithm === 'HS256');
  if (secrets.length === 0) return { fault: 'signed links are not accepted here: no key is a secret' };
  const given = Buffer.from(sign, 'hex');
  const isSigned = secrets.some(({ key }) =>
    timingSafeEqual(createHmac('sha256', key).update(`${signed}\n${user}\n${until}`).digest(), given),
  );
  if (!isSigned) return { fault: 'the signature of the link is wrong' };
  const expiresAt = Number(until) * 1000;
  if (now >= expiresAt) return { fault: 'the link has expired' };
  if (expiresAt > now + maxCredentialLifetime)
    return { fault: 'the "until" of the link is too far ahead: it is in seconds since 1970' };
  const channels = channelPath('');
  const granted = signed.startsWith(channels) ? [literalPattern(signed.slice(channels.length))] : [];
  return { identity: { user, means: 'link', subscribe: granted, publish: [], expiresAt } };
}

/** Polling clients request the same link below `/poll`. */
function signedPath(path: string): string | undefined {
  const decoded = percentDecode(path.startsWith('/poll/') ? path.slice('/poll'.length) : path);
  return decoded === undefined || /\p{Cc}/u.test(decoded) ? undefined : decoded;
}
