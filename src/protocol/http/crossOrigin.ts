/** What the pages of other sites may do over HTTP: the fields of CORS (Fetch Standard §3.2). */
import type { Head } from './head.ts';

/**
 * For answers to a request whose origin was admitted (see `checkOrigin`): its page may read them, and may have sent
 * credentials. The server looks at none, but a proxy in front of it may, and `EventSource` with `withCredentials` fails
 * without this field. A WebSocket carries cookies from every origin, so this opens nothing that was closed before.
 */
export function admittedFields({ headers }: Head): Readonly<Record<string, string>> {
  const origin = headers.get('origin');
  if (origin === undefined) return { Vary: 'Origin' };
  return {
    Vary: 'Origin',
    'Access-Control-Allow-Origin': origin,
    'Access-Control-Allow-Credentials': 'true',
  };
}

/** For the answer to a preflight request (Fetch Standard §3.2.2). With credentials a `*` would not match any field. */
export function preflightFields(methods: string, fields: string): Readonly<Record<string, string>> {
  return {
    'Access-Control-Allow-Methods': methods,
    'Access-Control-Allow-Headers': fields,
    // Two hours: the most that Chromium remembers it for.
    'Access-Control-Max-Age': '7200',
  };
}
