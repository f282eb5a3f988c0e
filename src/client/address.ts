/** The URL of a server, RFC 6455 §3, and those of Unix sockets, for which there is no standard. */
import { Buffer } from 'node:buffer';

export interface Address {
  /** As messages show it: without credentials. */
  readonly shown: string;
  readonly isSecure: boolean;
  /** Where the bytes go, as `net.connect` takes it: IPv6 without brackets, a path of a socket. */
  readonly target: { readonly host: string; readonly port: number } | { readonly path: string };
  /** For the Host header: with brackets, and the port unless it is the scheme's own. */
  readonly host: string;
  /** Path and query, percent-encoded. */
  readonly resource: string;
  /** For the Authorization header, where the URL has a user. */
  readonly authorization: string | undefined;
}

export const addressForm =
  'a URL such as ws://localhost:8080/echo, wss://example.com/ or unix:/run/pollywog.sock';

/** @returns undefined for anything but a URL of a WebSocket server */
export function parseAddress(word: string): Address | undefined {
  if (/^(ws\+)?unix:/i.test(word)) return parseUnixAddress(word);
  // RFC 6455 §3: fragments are meaningless, and must not be used.
  if (!/^wss?:\/\/[^/]/i.test(word) || word.includes('#') || !URL.canParse(word)) return undefined;
  const url = new URL(word);
  const isSecure = url.protocol === 'wss:';
  const resource = url.pathname + url.search;
  return {
    shown: `${url.protocol}//${url.host}${resource}`,
    isSecure,
    target: {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? (isSecure ? 443 : 80) : Number(url.port),
    },
    host: url.host,
    resource,
    authorization: basicAuthorization(url),
  };
}

/** `unix:/run/x.sock`, as the server's `--listen` has it, and `ws+unix:/run/x.sock:/echo`, as npm's ws has it. */
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

/** RFC 7617 §2. */
function basicAuthorization({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  try {
    const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    return `Basic ${Buffer.from(pair).toString('base64')}`;
  } catch {
    return undefined;
  }
}
