/** The URLs that `--listen` takes: where to listen, and in a query how. */
import { type ListenAddress, type ListenOptions, parseHost } from './addresses.ts';
import { quoted, UsageError } from './error.ts';
import { nearest } from './nearest.ts';
import { type Kind, port } from './values.ts';

/** What fits the smallest `sockaddr_un` (macOS: 104 bytes, Linux: 108) with its final NUL; longer ones may be cut. */
const longestUnixPath = 103;

/** sd_listen_fds(3): SD_LISTEN_FDS_START. */
export const firstInherited = 3;

type Parameters = Map<string, (value: string) => ListenOptions>;

const parameters: Parameters = new Map([
  ['lines', value => readGreeting('lines', value)],
  ['greet', value => readGreeting('greet', value)],
]);

const unixParameters: Parameters = new Map([...parameters, ['mode', readMode], ['group', readGroup]]);

/** Throws UsageError for a query with a parameter that does not exist, or a value that it cannot have. */
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
    return Buffer.byteLength(path) <= longestUnixPath ? { transport: 'unix', path } : undefined;
  }
  const [, fd] = /^fd:([0-9]{1,9})$/.exec(place) ?? [];
  if (fd !== undefined)
    return Number(fd) < firstInherited ? undefined : { transport: 'inherited', fd: Number(fd) };
  const [, hostPart, portPart] = /^tcp:\/\/(\[.*\]|[^:[\]]*):([0-9]+)\/?$/.exec(place) ?? [];
  // No host is all interfaces.
  const tcpHost = parseHost(hostPart === '' ? '::' : hostPart);
  const tcpPort = port.parse(portPart);
  if (tcpHost === undefined || tcpPort === undefined) return undefined;
  return { transport: 'tcp', host: tcpHost, port: tcpPort };
}

function readQuery(query: string, known: Parameters): ListenOptions {
  let options: ListenOptions = {};
  const seen = new Set<string>();
  for (const part of query.split('&')) {
    const equals = part.indexOf('=');
    const name = equals < 0 ? part : part.slice(0, equals);
    const read = known.get(name);
    if (read === undefined) throw unknownParameter(name, known);
    if (seen.has(name)) throw new UsageError(`a listener's ${name} is given twice`);
    seen.add(name);
    options = { ...options, ...read(equals < 0 ? '' : part.slice(equals + 1)) };
  }
  if (seen.has('lines') && seen.has('greet')) throw new UsageError('a listener has lines or greet, not both');
  return options;
}

function unknownParameter(name: string, known: Parameters): UsageError {
  if (unixParameters.has(name)) return new UsageError(`${name} is for unix: listeners only`);
  const likely = nearest(name, known.keys());
  const advice = likely ? `did you mean ${likely}?` : `there are ${[...known.keys()].join(', ')}`;
  return new UsageError(`a listener has no parameter ${quoted(name)}; ${advice}`);
}

function readGreeting(greeting: 'lines' | 'greet', value: string): ListenOptions {
  if (value !== '') throw new UsageError(`a listener's ${greeting} takes no value, not ${quoted(value)}`);
  return { greeting };
}

function readMode(value: string): ListenOptions {
  if (!/^0?[0-7]{3}$/.test(value))
    throw new UsageError(`a listener's mode must be three octal digits such as 660, not ${quoted(value)}`);
  return { mode: Number.parseInt(value, 8) };
}

function readGroup(value: string): ListenOptions {
  if (!/^[\w.][\w.-]*\$?$/.test(value))
    throw new UsageError(`a listener's group must be a name or a number, not ${quoted(value)}`);
  return { group: value };
}

/** The place alone, without what the query says. */
export function showListenAddress(address: ListenAddress): string {
  if (address.transport === 'unix') return `unix:${address.path}`;
  if (address.transport === 'inherited') return `fd:${address.fd}`;
  const bracketed = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `tcp://${bracketed}:${address.port}`;
}

/** The URL that `listenUrl` reads back as `address`. */
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
  expected: `a URL such as tcp://[::1]:8080 or unix:/run/pollywog.sock (a path of at most ${longestUnixPath} bytes)`,
  parse: parseListenUrl,
  show: showListenUrl,
};
