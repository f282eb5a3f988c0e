/** The credentials in the head of a request: a token, a signed link, or none. */
import type { Head } from '../protocol/http/head.ts';
import { verifyToken } from './jwt.ts';
import { verifyLink } from './links.ts';
import type { Access, Credentials } from './records.ts';

const anonymous: Credentials = { byCookie: false };

/**
 * The first of these decides: the field Authorization, the token in the URL, the signature in the URL, the cookie. Ambiguous
 * credentials identify no user.
 * @param now milliseconds since 1970
 */
export function readCredentials(access: Access, head: Head, now: number): Credentials {
  if (access.keys.length === 0) return anonymous;
  const bearer = bearerToken(head);
  if (bearer === undefined && hasBearer(head))
    return refused('the field Authorization is not "Bearer" and one token');
  const query = new URLSearchParams(head.query);
  const [token, ...more] = query.getAll('token');
  if (more.length > 0) return refused('the URL has more than one token');
  if (bearer !== undefined && token !== undefined && bearer !== token)
    return refused('the URL and the field Authorization have different tokens');
  const given = bearer ?? token;
  if (given !== undefined && query.has('sign'))
    return refused('the request has a token and a signed link; keep one');
  if (given !== undefined) return { ...verifyToken(access, given, now), byCookie: false };
  if (query.has('sign')) return { ...verifyLink(access, head, query, now), byCookie: false };
  return readCookie(access, head, now);
}

function refused(fault: string): Credentials {
  return { fault, byCookie: false };
}

/** The token in the field Authorization. RFC 9110 §11.1: the scheme is case-insensitive. */
export function bearerToken({ headers }: Head): string | undefined {
  return /^bearer +([\w.~+/-]+=*)$/i.exec(headers.get('authorization') ?? '')?.[1];
}

/** Whether the field Authorization begins with the scheme of tokens. The rest may be invalid, or several tokens. */
function hasBearer({ headers }: Head): boolean {
  return /^bearer(?:[ ,]|$)/i.test(headers.get('authorization') ?? '');
}

/** The same, or the token in the query: browsers cannot send the field Authorization with a handshake. */
export function tokenInHead(head: Head): string | undefined {
  return bearerToken(head) ?? new URLSearchParams(head.query).get('token') ?? undefined;
}

function readCookie(access: Access, { headers }: Head, now: number): Credentials {
  if (access.tokenCookie === '') return anonymous;
  const values = new Set(cookieValues(headers.get('cookie') ?? '', access.tokenCookie));
  // The site has cleared a cookie without a value.
  values.delete('');
  const [token, ...more] = values;
  if (token === undefined) return anonymous;
  // Any host below the site's domain can add a cookie of this name.
  if (more.length > 0)
    return { fault: `the request has two different cookies "${access.tokenCookie}"`, byCookie: true };
  return { ...verifyToken(access, token, now), byCookie: true };
}

function cookieValues(field: string, name: string): string[] {
  return cookiePairs(field)
    .filter(pair => pair.startsWith(`${name}=`))
    .map(pair => pair.slice(name.length + 1));
}

/** RFC 6265 §4.2.1: pairs with `; ` between them. */
function cookiePairs(field: string): string[] {
  return field.split(';').map(pair => pair.trim());
}

/** The value of the field Cookie, without the cookies of this name. */
export function withoutCookie(field: string, name: string): string {
  return cookiePairs(field)
    .filter(pair => name === '' || !pair.startsWith(`${name}=`))
    .join('; ');
}

/** The value of the field Cookie, with only the cookies of these names. */
export function onlyCookies(field: string, names: readonly string[]): string {
  return cookiePairs(field)
    .filter(pair => names.includes(pair.split('=', 1)[0]!))
    .join('; ');
}
