/**
 * IP addresses and networks. An address has 16 bytes: IPv4 is mapped into IPv6 (RFC 4291 §2.5.5.2), so that a client has the
 * same address on an IPv4 and an IPv6 socket.
 */

export interface Network {
  readonly address: Uint8Array;
  /** The length of the prefix, of 128 bits. */
  readonly bits: number;
}

/** All IPv4 addresses. */
export const mappedIpv4: Network = {
  address: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0),
  bits: 96,
};

const addressBits = 128;

/** @returns the 16 bytes, without a zone (`fe80::1%eth0`); `undefined` if `text` is not an address */
export function parseIp(text: string): Uint8Array | undefined {
  const plain = text.replace(/%[\w.-]+$/, '');
  const bytes = plain.includes(':') ? parseIpv6(plain) : mapped(parseIpv4(plain));
  return bytes === undefined ? undefined : Uint8Array.from(bytes);
}

/** RFC 5952 §4: no leading zeros, the longest run of zeros as `::`; mapped IPv4 as IPv4. @param ip 16 bytes */
export function showIp(ip: Uint8Array): string {
  if (isInNetwork(ip, mappedIpv4)) return ip.subarray(12).join('.');
  const bytes = Buffer.from(ip);
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** An address, with or without a prefix length: `10.0.0.0/8`, `2001:db8::/32` (RFC 4632 §3.1). */
export function parseNetwork(text: string): Network | undefined {
  const [, host = '', prefix] = /^([^/]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const address = parseIp(host);
  if (address === undefined) return undefined;
  const before = host.includes(':') ? 0 : mappedIpv4.bits;
  const bits = prefix === undefined ? addressBits : before + Number(prefix);
  return bits <= addressBits ? { address, bits } : undefined;
}

/** Addresses of this machine and of local networks, where a proxy in front of the server has its address. */
const privateNetworks = [
  ...['127.0.0.0/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', '100.64.0.0/10'],
  ...['::/127', 'fc00::/7', 'fe80::/10'],
];

/** RFC 1918, RFC 4193, RFC 6598, link-local and loopback addresses. */
export function isPrivateIp(ip: Uint8Array): boolean {
  return privateNetworks.some(network => isInNetwork(ip, parseNetwork(network)!));
}

export function isInNetwork(ip: Uint8Array, { address, bits }: Network): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (ip[i] !== address[i]) return false;
  const rest = bits & 7;
  return rest === 0 || ((ip[whole]! ^ address[whole]!) & (0xff << (8 - rest)) & 0xff) === 0;
}

/** RFC 3986 §3.2.2, `IPv4address`: no leading zeros, which some parsers read as octal. */
function parseIpv4(text: string): number[] | undefined {
  const parts = text.split('.');
  const isFit = (part: string) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255;
  return parts.length === 4 && parts.every(isFit) ? parts.map(Number) : undefined;
}

function mapped(ipv4: number[] | undefined): number[] | undefined {
  return ipv4 && [...mappedIpv4.address.subarray(0, 12), ...ipv4];
}

/** RFC 4291 §2.2: eight groups; one `::` replaces the missing zeros; the last two groups may be written as IPv4. */
function parseIpv6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, at) => parseGroups(half, at === halves.length - 1));
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 16 ? head : undefined;
  if (tail === undefined || head.length + tail.length > 14) return undefined;
  return [...head, ...new Array<number>(16 - head.length - tail.length).fill(0), ...tail];
}

function parseGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [at, group] of groups.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    } else {
      const ipv4 = isLast && at === groups.length - 1 ? parseIpv4(group) : undefined;
      if (ipv4 === undefined) return undefined;
      bytes.push(...ipv4);
    }
  }
  return bytes;
}

/** Removes the port, and brackets: `127.0.0.1:50312` → `127.0.0.1`. An address without a port is returned unchanged. */
export function hostOf(address: string): string {
  const [, bracketed, ipv4] = /^(?:\[(.*)\](?::\d+)?|([\d.]+):\d+)$/.exec(address) ?? [];
  return bracketed ?? ipv4 ?? address;
}

/** An address and port as people write them. An IPv4 address on an IPv6 socket is written as IPv4. */
export function showAddress(address: string, port: number): string {
  const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`;
}

/** The address shown for a peer without one: on a Unix socket, or on TCP but already gone. */
export const noAddress = 'unix';

/** The peer's address and port, or `noAddress`. */
export function showPeer(address: string | undefined, port: number | undefined): string {
  return address === undefined || port === undefined ? noAddress : flattenString(showAddress(address, port));
}

/**
 * Copies the string. V8 keeps the parts of a concatenation, and the parent of a substring, alive; a connection keeps its
 * address for long, and they would take ten times the memory. Only latin1 survives, up to 128 characters.
 */
export function flattenString(address: string): string {
  return scratch.toString('latin1', 0, scratch.write(address, 'latin1'));
}

const scratch = Buffer.alloc(128);
