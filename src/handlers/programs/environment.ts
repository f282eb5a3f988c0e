/** A program's environment: the request as CGI meta-variables (RFC 3875 §4.1), PATH, and what `--exec-env` names. */

import { isUtf8 } from 'node:buffer';
import { withoutCookie } from '../../access/credentials.ts';
import type { Head } from '../../protocol/http/head.ts';
import { percentDecode } from '../../protocol/http/path.ts';
import { redact, redactQuery } from '../../protocol/http/redact.ts';
import { hostOf } from '../../protocol/ipAddress.ts';
import type { Connection } from '../../records/records.ts';

/** Environment variables by name. */
export type Variables = Readonly<Record<string, string>>;

/** Credentials (RFC 3875 §9.2), and `Proxy`, which would become HTTP_PROXY (CVE-2016-5385). */
const withheld = new Set(['authorization', 'proxy-authorization', 'proxy']);

/**
 * The meta-variables of a connection's request.
 * @param name the handler's name: if the path begins with it, SCRIPT_NAME is that part, and PATH_INFO the rest
 */
export function requestVariables(connection: Connection, request: Head, name: string): Variables {
  const { path } = request;
  const { target, query, headers } = isAccessChecked(connection)
    ? withoutSecrets(connection, request)
    : request;
  const isNamed = path === `/${name}` || path.startsWith(`/${name}/`);
  const scriptName = isNamed ? `/${name}` : '';
  const { address, security } = connection;
  // An address from a proxy has no port.
  const [, port] = /(?:^[\d.]+|\]):(\d+)$/.exec(address) ?? [];
  const [, serverName, serverPort] = /^(.*?)(?::(\d*))?$/.exec(headers.get('host') ?? '') ?? [];
  const variables: Record<string, string> = {
    GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_SOFTWARE: 'pollywog',
    SERVER_PROTOCOL: `HTTP/${request.version}`,
    SERVER_NAME: serverName ?? '',
    SERVER_PORT: serverPort ?? '',
    REQUEST_METHOD: request.method,
    REQUEST_URI: target,
    SCRIPT_NAME: scriptName,
    PATH_INFO: pathInfo(path.slice(scriptName.length)),
    QUERY_STRING: query,
    // Empty on a Unix socket.
    REMOTE_ADDR: address === 'unix' ? '' : hostOf(address),
    REMOTE_PORT: port ?? '',
    ...(connection.identity === undefined ? {} : { REMOTE_USER: connection.identity.user }),
    // The names of Apache's mod_ssl.
    ...(security === undefined ? {} : { HTTPS: 'on', SSL_CLIENT_S_DN: security.subject ?? '' }),
    // The `id` in the log.
    CONNECTION_ID: String(connection.id),
  };
  for (const [field, value] of headers) {
    // Skip names with an underscore: they would be indistinguishable from those with a hyphen.
    if (withheld.has(field) || !/^[a-z\d-]+$/.test(field)) continue;
    variables[`HTTP_${field.replaceAll('-', '_').toUpperCase()}`] = utf8Value(value);
  }
  return variables;
}

/** Whether tokens and signatures are for the server (`--auth-key`). Otherwise parameters with these names are the program's. */
function isAccessChecked({ server: { configuration } }: Connection): boolean {
  return configuration.authKey.length > 0;
}

/** Removes tokens and signatures: other users of the machine may see a program's environment, and programs log it. */
function withoutSecrets(
  { server: { configuration } }: Connection,
  { target, query, headers }: Head,
): Pick<Head, 'target' | 'query' | 'headers'> {
  const shown = new Map(headers);
  const cookie = withoutCookie(headers.get('cookie') ?? '', configuration.tokenCookie);
  if (cookie === '') shown.delete('cookie');
  else shown.set('cookie', cookie);
  const referer = headers.get('referer');
  if (referer !== undefined) shown.set('referer', redact(referer));
  return { target: redact(target), query: redactQuery(query), headers: shown };
}

/** RFC 3875 §4.1.5: PATH_INFO is decoded. A path with invalid encoding or a NUL stays as received. */
function pathInfo(path: string): string {
  const decoded = percentDecode(path);
  return decoded === undefined || decoded.includes('\0') ? path : decoded;
}

/** A field value is Latin-1 (a character per byte), but Node writes environments in UTF-8: decode UTF-8 values first. */
function utf8Value(text: string): string {
  const bytes = Buffer.from(text, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : text;
}

/** The variables of the server's own environment that a program gets: PATH and the named ones. */
export function baseEnvironment(names: readonly string[]): Variables {
  const environment: Record<string, string> = {};
  for (const name of ['PATH', ...names]) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}
