/** CORS (Fetch Standard §3.2): what pages of other sites may do over HTTP. */
import { checkCrossSite } from './crossSite.ts';
import type { Head } from './head.ts';

/**
 * Fields for the answer to a request whose origin was accepted (`checkOrigin`): its page may read the answer, and may send
 * credentials, unless the server uses them and they would not count (`checkCrossSite`). A server that ignores credentials
 * admits them, as a proxy in front of it may need them, and `EventSource` with `withCredentials` fails without the field.
 * @param isGuarded whether the server uses credentials
 */
export function admittedFields(
  head: Head,
  isGuarded = false,
  rules: readonly string[] = [],
): Readonly<Record<string, string>> {
  const origin = head.headers.get('origin');
  if (origin === undefined) return { Vary: 'Origin' };
  if (isGuarded && checkCrossSite(head, rules) !== undefined)
    return { Vary: 'Origin', 'Access-Control-Allow-Origin': origin };
  return {
    Vary: 'Origin',
    'Access-Control-Allow-Origin': origin,
    'Access-Control-Allow-Credentials': 'true',
  };
}

/** Fields for the answer to a preflight request (Fetch Standard §3.2.2). With credentials, `*` is not a wildcard. */
export function preflightFields(methods: string, fields: string): Readonly<Record<string, string>> {
  return {
    'Access-Control-Allow-Methods': methods,
    'Access-Control-Allow-Headers': fields,
    // Chromium's maximum is two hours.
    'Access-Control-Max-Age': '7200',
  };
}
