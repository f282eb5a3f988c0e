/** What a program is told of the request, and of the world: as CGI has it, RFC 3875 §4.1. */
import { isUtf8 } from 'node:buffer';
import type { Connection } from '../../core/connection.ts';
import { hostOf } from '../../core/peer.ts';
import type { Head } from '../../protocol/http/head.ts';

/** What the variables of a request are, by name. */
export type Variables = Readonly<Record<string, string>>;

/** Credentials (RFC 3875 §9.2), and what curl and others would take for the environment's proxy (CVE-2016-5385). */
const withheld = new Set(['authorization', 'proxy-authorization', 'proxy']);

/**
 * The variables of a connection.
 * @param name the handler's: as first segment of the path it is SCRIPT_NAME, and PATH_INFO what follows
 */
export function requestVariables(connection: Connection, request: Head, name: string): Variables {
  const { headers, path, query } = request;
  const isNamed = path === `/${name}` || path.startsWith(`/${name}/`);
  const scriptName = isNamed ? `/${name}` : '';
  const { address, security } = connection;
  // What a proxy says has no port.
  const [, port] = /(?:^[\d.]+|\]):(\d+)$/.exec(address) ?? [];
  const [, serverName, serverPort] = /^(.*?)(?::(\d*))?$/.exec(headers.get('host') ?? '') ?? [];
  const variables: Record<string, string> = {
    GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_SOFTWARE: 'pollywog',
    SERVER_PROTOCOL: `HTTP/${request.version}`,
    SERVER_NAME: serverName ?? '',
    SERVER_PORT: serverPort ?? '',
    REQUEST_METHOD: request.method,
    REQUEST_URI: request.target,
    SCRIPT_NAME: scriptName,
    PATH_INFO: decodePath(path.slice(scriptName.length)),
    QUERY_STRING: query,
    // Empty on a Unix socket.
    REMOTE_ADDR: address === 'unix' ? '' : hostOf(address),
    REMOTE_PORT: port ?? '',
    // As Apache's mod_ssl calls them.
    ...(security === undefined ? {} : { HTTPS: 'on', SSL_CLIENT_S_DN: security.subject ?? '' }),
    // As the log has it.
    CONNECTION_ID: String(connection.id),
  };
  for (const [field, value] of headers) {
    // A name with an underscore could pass for another one with a hyphen.
    if (withheld.has(field) || !/^[a-z\d-]+$/.test(field)) continue;
    variables[`HTTP_${field.replaceAll('-', '_').toUpperCase()}`] = asBytes(value);
  }
  return variables;
}

/** RFC 3875 §4.1.5: PATH_INFO is decoded. What cannot be, or not be in an environment, stays as it came. */
function decodePath(path: string): string {
  try {
    const decoded = decodeURIComponent(path);
    return decoded.includes('\0') ? path : decoded;
  } catch {
    return path;
  }
}

/** A field's value has a character for each byte. Node writes an environment in UTF-8: so UTF-8 arrives as it came. */
function asBytes(text: string): string {
  const bytes = Buffer.from(text, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : text;
}

/** The rest of a program's environment: PATH, and what was named. */
export function baseEnvironment(names: readonly string[]): Variables {
  const environment: Record<string, string> = {};
  for (const name of ['PATH', ...names]) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}
