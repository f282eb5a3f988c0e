/** Options with addresses: where to listen, which proxies to trust, which origins to accept. */

import { parseOrigin, parseOriginRule } from '../protocol/http/origin.ts';
import { type Network, parseNetwork } from '../protocol/ipAddress.ts';
import { nearest, quoted, UsageError } from './error.ts';
import { type Kind, port } from './values.ts';

/** Parameters of a listener, from the query of its URL. */
export interface AddressOptions {
  /** For peers that do not speak HTTP: greet at once, by the chat for terminals or by a module. */
  readonly greeting?: 'lines' | 'greet';
  /** Unix sockets only: the file's mode, and its group, by name or number. */
  readonly mode?: number;
  readonly group?: string;
}

export interface TcpAddress extends AddressOptions {
  readonly transport: 'tcp';
  /** A host name or an IP address, IPv6 without brackets. `::` is every interface, of IPv4 too. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
}

export interface UnixAddress extends AddressOptions {
  readonly transport: 'unix';
  /** Absolute. */
  readonly path: string;
}

/** A listening socket inherited from the parent process. */
export interface InheritedAddress extends AddressOptions {
  readonly transport: 'inherited';
  /** At least 3: the lower ones are stdin, stdout and stderr. */
  readonly fd: number;
}

export type ListenAddress = TcpAddress | UnixAddress | InheritedAddress;

/** RFC 1035 §2.3.4: 255 bytes on the wire are 253 characters. */
const maxHostName = 253;

/** An IP address in standard notation, or a host name; undefined for anything else. IPv6 may have brackets. */
export function parseHost(raw: unknown): string | undefined {
  if (typeof raw !== 'string' || raw.length > maxHostName) return undefined;
  const [, address, zone] = /^\[?([0-9a-f:.]*:[0-9a-f:.]*)(%[\w.-]+)?\]?$/i.exec(raw) ?? [];
  if (address !== undefined) {
    const paired = raw.startsWith('[') === raw.endsWith(']');
    return paired && URL.canParse(`http://[${address}]`) ? address + (zone ?? '') : undefined;
  }
  if (!/^\w([\w.-]*\w)?$/.test(raw) || !URL.canParse(`http://${raw}`)) return undefined;
  // The URL parser rewrites numbers such as 127.1, 0x7f000001 and 010.0.0.1, which are no host names.
  return new URL(`http://${raw}`).hostname === raw.toLowerCase() ? raw : undefined;
}

/** Peers identified by address. */
export interface Peers {
  /** As the user wrote it. */
  readonly text: string;
  /** `undefined` for peers on Unix sockets. */
  readonly network: Network | undefined;
}

/** A network, an address, or all peers on Unix sockets. */
export const peers: Kind<Peers> = {
  placeholder: 'CIDR',
  expected: 'an address or a network such as 127.0.0.1, 10.0.0.0/8 or fd00::/8, or unix',
  parse(raw) {
    if (raw === 'unix') return { text: raw, network: undefined };
    const network = typeof raw === 'string' ? parseNetwork(raw) : undefined;
    return network && { text: raw as string, network };
  },
  show: ({ text }) => text,
};

/** The host of a listener. */
export const host: Kind<string> = {
  placeholder: 'ADDR',
  expected: 'an address such as 127.0.0.1, ::1 or localhost',
  parse: parseHost,
  show: value => value,
};

/** The value of an `Origin` field. */
export const origin: Kind<string> = {
  placeholder: 'URL',
  expected: 'an origin such as https://example.com or null, without path or wildcard',
  parse: raw => (typeof raw === 'string' ? parseOrigin(raw) : undefined),
  show: value => value,
};

/** Origins to accept: one, all below a domain, or those of the server's own pages. */
export const originRule: Kind<string> = {
  placeholder: 'ORIGIN',
  expected:
    'an origin such as https://example.com, capacitor://localhost or null, without path; *.example.com; or same',
  parse: raw => (typeof raw === 'string' ? parseOriginRule(raw) : undefined),
  show: value => value,
};

/** The smallest `sockaddr_un` (macOS: 104 bytes, Linux: 108) with its final NUL. The system may truncate longer paths. */
const maxUnixPath = 103;

/** sd_listen_fds(3): SD_LISTEN_FDS_START. */
export const firstInherited = 3;

type Parameters = Map<string, (value: string) => AddressOptions>;

const parameters: Parameters = new Map([
  ['lines', value => readGreeting('lines', value)],
  ['greet', value => readGreeting('greet', value)],
]);

const unixParameters: Parameters = new Map([...parameters, ['mode', readMode], ['group', readGroup]]);

/** @throws UsageError if the query has an unknown parameter or an invalid value */
function parseListenUrl(raw: unknown): ListenAddress | undefined {
  if (typeof raw !== 'string') return undefined;
  const [, place = '', query] = /^([^?]*)(?:\?(.*))?$/s.exec(raw) ?? [];
  const address = parsePlace(place);
  if (address === undefined || query === undefined || query === '') return address;
  return { ...address, ...readQuery(query, address.transport === 'unix' ? unixParameters : parameters) };
}

function parsePlace(place: string): ListenAddress | undefined {
  const [, path] = /^unix:(?:\/\/)?(\/[^/\0][^\0]*)$/.exec(place) ?? [];
  if (path !== undefined) {
    return Buffer.byteLength(path) <= maxUnixPath ? { transport: 'unix', path } : undefined;
  }
  const [, fd] = /^fd:([0-9]{1,9})$/.exec(place) ?? [];
  if (fd !== undefined)
    return Number(fd) < firstInherited ? undefined : { transport: 'inherited', fd: Number(fd) };
  const [, hostPart, portPart] = /^tcp:\/\/(\[.*\]|[^:[\]]*):([0-9]+)\/?$/.exec(place) ?? [];
  // Without a host: all interfaces.
  const tcpHost = parseHost(hostPart === '' ? '::' : hostPart);
  const tcpPort = port.parse(portPart);
  if (tcpHost === undefined || tcpPort === undefined) return undefined;
  return { transport: 'tcp', host: tcpHost, port: tcpPort };
}

function readQuery(query: string, known: Parameters): AddressOptions {
  let options: AddressOptions = {};
  const seen = new Set<string>();
  for (const part of query.split('&')) {
    const equals = part.indexOf('=');
    const name = equals < 0 ? part : part.slice(0, equals);
    const read = known.get(name);
    if (read === undefined) throw unknownParameter(name, known);
    if (seen.has(name)) throw new UsageError(`a listener's ${name} is given twice; keep one`);
    seen.add(name);
    options = { ...options, ...read(equals < 0 ? '' : part.slice(equals + 1)) };
  }
  if (seen.has('lines') && seen.has('greet'))
    throw new UsageError('a listener cannot have both lines and greet; keep one');
  return options;
}

function unknownParameter(name: string, known: Parameters): UsageError {
  if (unixParameters.has(name)) return new UsageError(`${name} works for unix: listeners only; remove it`);
  const likely = nearest(name, known.keys());
  const advice = likely ? `did you mean ${likely}?` : `the parameters are ${[...known.keys()].join(', ')}`;
  return new UsageError(`a listener has no parameter ${quoted(name)}; ${advice}`);
}

function readGreeting(greeting: 'lines' | 'greet', value: string): AddressOptions {
  if (value !== '') throw new UsageError(`a listener's ${greeting} takes no value; remove ${quoted(value)}`);
  return { greeting };
}

function readMode(value: string): AddressOptions {
  if (!/^0?[0-7]{3}$/.test(value))
    throw new UsageError(`a listener's mode must be three octal digits such as 660, not ${quoted(value)}`);
  return { mode: Number.parseInt(value, 8) };
}

function readGroup(value: string): AddressOptions {
  if (!/^[\w.][\w.-]*\$?$/.test(value))
    throw new UsageError(`a listener's group must be a name or a number, not ${quoted(value)}`);
  return { group: value };
}

/** The URL without its query. */
export function showListenAddress(address: ListenAddress): string {
  if (address.transport === 'unix') return `unix:${address.path}`;
  if (address.transport === 'inherited') return `fd:${address.fd}`;
  const bracketed = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `tcp://${bracketed}:${address.port}`;
}

/** The URL that parses to `address`. */
function showListenUrl(address: ListenAddress): string {
  const { greeting, mode, group } = address;
  const query = [
    ...(greeting === undefined ? [] : [greeting]),
    ...(mode === undefined ? [] : [`mode=${mode.toString(8).padStart(3, '0')}`]),
    ...(group === undefined ? [] : [`group=${group}`]),
  ];
  return showListenAddress(address) + (query.length > 0 ? `?${query.join('&')}` : '');
}

export const listenUrl: Kind<ListenAddress> = {
  placeholder: 'URL',
  expected: `a URL such as tcp://[::1]:8080 or unix:/run/pollywog.sock (a path of at most ${maxUnixPath} bytes)`,
  parse: parseListenUrl,
  show: showListenUrl,
};

/** The address of a web app that is asked over HTTP, by TCP or a Unix socket. */
export interface AppAddress {
  /** As the user wrote it. */
  readonly text: string;
  readonly host: string;
  readonly port: number;
  /** Instead of host and port. */
  readonly socketPath: string | undefined;
  /** With its query. */
  readonly path: string;
}

function parseAppUrl(raw: unknown): AppAddress | undefined {
  if (typeof raw !== 'string' || /[^\x21-\x7e]|#/.test(raw)) return undefined;
  const [, socketPath, socketTarget = '/'] = /^unix:(?:\/\/)?(\/[^/:][^:]*)(?::(\/.*))?$/.exec(raw) ?? [];
  if (socketPath !== undefined) {
    if (Buffer.byteLength(socketPath) > maxUnixPath) return undefined;
    return { text: raw, host: 'localhost', port: 0, socketPath, path: socketTarget };
  }
  if (!/^http:\/\/[^/?@\\]+(?:[/?]|$)/i.test(raw) || !URL.canParse(raw)) return undefined;
  const { hostname, port: itsPort, pathname, search } = new URL(raw);
  // Node takes an IPv6 address without brackets.
  const appHost = hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    text: raw,
    host: appHost,
    port: Number(itsPort || 80),
    socketPath: undefined,
    path: pathname + search,
  };
}

/** The URL of a web app, or `none`. */
export const appUrl: Kind<AppAddress | 'none'> = {
  placeholder: 'URL',
  expected:
    'a URL such as http://127.0.0.1/auth or unix:/run/app.sock:/auth, or none (TLS is not supported: ask over the loopback)',
  parse: raw => (raw === 'none' ? raw : parseAppUrl(raw)),
  show: value => (value === 'none' ? value : value.text),
};
