/** Server URLs: `ws:` and `wss:` as in RFC 6455 §3, and two common spellings for Unix sockets, which have no standard. */
import { Buffer } from 'node:buffer';
import { UsageError } from '../options/error.ts';
import { percentDecode } from '../protocol/http/path.ts';

export interface Address {
  /** For messages: without credentials. */
  readonly shown: string;
  readonly isSecure: boolean;
  /** For `net.connect`: an IPv6 host has no brackets. */
  readonly target: { readonly host: string; readonly port: number } | { readonly path: string };
  /** For the Host header: an IPv6 host has brackets; the scheme's default port is left out. */
  readonly host: string;
  /** Path and query, percent-encoded. */
  readonly resource: string;
  /** For the Authorization header, if the URL has a user. */
  readonly authorization: string | undefined;
}

export const addressForm =
  'a URL such as ws://localhost:8080/echo, wss://example.com/ or unix:/run/pollywog.sock';

/** @returns undefined if the word is not the URL of a WebSocket server @throws UsageError for a user that cannot be sent */
export function parseAddress(word: string): Address | undefined {
  if (/^(ws\+)?unix:/i.test(word)) return parseUnixAddress(word);
  // RFC 6455 §3, §4.1 [3-2, 3-3, 4.1-3, 4.1-4]: a WebSocket URL must be valid, and must not have a fragment.
  if (!/^wss?:\/\/[^/]/i.test(word) || word.includes('#') || !URL.canParse(word)) return undefined;
  const url = new URL(word);
  const isSecure = url.protocol === 'wss:';
  const resource = url.pathname + url.search;
  return {
    shown: `${url.protocol}//${url.host}${resource}`,
    isSecure,
    // RFC 6455 §3 [3-1]: the default ports.
    target: {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? (isSecure ? 443 : 80) : Number(url.port),
    },
    host: url.host,
    resource,
    authorization: basicAuthorization(url),
  };
}

/** Parses `unix:/run/x.sock`, as in the server's `--listen`, and `ws+unix:/run/x.sock:/echo`, as in npm's ws. */
function parseUnixAddress(word: string): Address | undefined {
  const [, path, resource = '/'] =
    /^(?:ws\+)?unix:(?:\/\/)?(\/[^/\0:][^\0:]*)(?::(\/[^\0#]*))?$/i.exec(word) ?? [];
  if (path === undefined || !URL.canParse(`ws://localhost${resource}`)) return undefined;
  const url = new URL(`ws://localhost${resource}`);
  return {
    shown: `ws+unix:${path}:${url.pathname}${url.search}`,
    isSecure: false,
    target: { path },
    host: 'localhost',
    resource: url.pathname + url.search,
    authorization: undefined,
  };
}

/** RFC 7617 §2: Basic authentication. @throws UsageError that does not show the password */
function basicAuthorization({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  const [user, secret] = [percentDecode(username), percentDecode(password)];
  if (user === undefined || secret === undefined)
    throw new UsageError('the user or the password in the URL is not percent-encoded UTF-8; write % as %25');
  // The server would take the part behind the colon for the password.
  if (user.includes(':'))
    throw new UsageError('the user in the URL contains a colon, which no user may have');
  return `Basic ${Buffer.from(`${user}:${secret}`).toString('base64')}`;
}
