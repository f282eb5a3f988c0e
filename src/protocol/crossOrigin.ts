/** What the pages of other sites may do over HTTP: the fields of CORS (Fetch Standard §3.2). */
import type { Head } from './http.ts';

/** For answers to a request whose origin is welcome (see `checkOrigin`): its page may read them. */
export function admittedFields({ headers }: Head): Readonly<Record<string, string>> {
  const origin = headers.get('origin');
  return { Vary: 'Origin', ...(origin === undefined ? {} : { 'Access-Control-Allow-Origin': origin }) };
}

/** For the answer to the question that a browser asks before it sends such a request (a preflight). */
export function preflightFields(methods: string, fields: string): Readonly<Record<string, string>> {
  return {
    'Access-Control-Allow-Methods': methods,
    'Access-Control-Allow-Headers': fields,
    // Two hours: the most that Chromium remembers it for.
    'Access-Control-Max-Age': '7200',
  };
}
