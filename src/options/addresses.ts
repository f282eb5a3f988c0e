/** The kinds of values that name a place: where to listen, and whose pages may connect. */

import { parseOrigin, parseOriginRule } from '../protocol/http/origin.ts';
import { type Network, parseNetwork } from '../protocol/ipAddress.ts';
import type { Kind } from './values.ts';

/** How a listener listens. */
export interface ListenOptions {
  /** Peers speak no HTTP here, and are greeted at once: by the chat for terminals, or by the module that greets. */
  readonly greeting?: 'lines' | 'greet';
  /** Unix sockets only: permission bits of the socket's file, and its group, by name or number. */
  readonly mode?: number;
  readonly group?: string;
}

export interface TcpAddress extends ListenOptions {
  readonly transport: 'tcp';
  /** A host name or an IP address, IPv6 without brackets. `::` is every interface, of IPv4 too. */
  readonly host: string;
  /** 0 leaves the choice to the system. */
  readonly port: number;
}

export interface UnixAddress extends ListenOptions {
  readonly transport: 'unix';
  /** Absolute. */
  readonly path: string;
}

/** A socket that listens already: whoever started this process left it open. */
export interface InheritedAddress extends ListenOptions {
  readonly transport: 'inherited';
  /** From 3 on; those before are stdin, stdout and stderr. */
  readonly fd: number;
}

export type ListenAddress = TcpAddress | UnixAddress | InheritedAddress;

/** RFC 1035 §2.3.4: a name takes 255 bytes on the wire, so 253 characters. */
const longestHostName = 253;

/** An IP address in its usual spelling, or a host name; undefined for anything else. IPv6 may stand in brackets. */
export function parseHost(raw: unknown): string | undefined {
  if (typeof raw !== 'string' || raw.length > longestHostName) return undefined;
  const [, address, zone] = /^\[?([0-9a-f:.]*:[0-9a-f:.]*)(%[\w.-]+)?\]?$/i.exec(raw) ?? [];
  if (address !== undefined) {
    const paired = raw.startsWith('[') === raw.endsWith(']');
    return paired && URL.canParse(`http://[${address}]`) ? address + (zone ?? '') : undefined;
  }
  if (!/^\w([\w.-]*\w)?$/.test(raw) || !URL.canParse(`http://${raw}`)) return undefined;
  // A URL's host is rewritten when it is a number in disguise: 127.1, 0x7f000001, 010.0.0.1.
  return new URL(`http://${raw}`).hostname === raw.toLowerCase() ? raw : undefined;
}

/** Peers that are told by their addresses. */
export interface Peers {
  /** As it was written. */
  readonly text: string;
  /** `undefined`: those on Unix sockets. */
  readonly network: Network | undefined;
}

/** A network, an address, or all who come over a Unix socket. */
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

/** An origin as browsers send it in the `Origin` field. */
export const origin: Kind<string> = {
  placeholder: 'URL',
  expected: 'an origin such as https://example.com or null, without path or wildcard',
  parse: raw => (typeof raw === 'string' ? parseOrigin(raw) : undefined),
  show: value => value,
};

/** Origins to admit: one, all below a domain, or those of the server's own pages. */
export const originRule: Kind<string> = {
  placeholder: 'ORIGIN',
  expected:
    'an origin such as https://example.com, capacitor://localhost or null, without path; *.example.com; or same',
  parse: raw => (typeof raw === 'string' ? parseOriginRule(raw) : undefined),
  show: value => value,
};
