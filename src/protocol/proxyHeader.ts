/**
 * The PROXY protocol, versions 1 (text) and 2 (binary): a header before all other bytes, in which a proxy names the client.
 * Section numbers are those of HAProxy's proxy-protocol.txt.
 */

import { ProtocolError } from './codes.ts';
import { parseIp, showIp } from './ipAddress.ts';
import { maxProxyHeader } from './limits.ts';

export interface ProxyHeader {
  /**
   * The client's IP address and port, both `undefined` for a Unix socket. Without a source, the connection is the proxy's
   * own, or the proxy does not know the client.
   */
  readonly source: { readonly address: string | undefined; readonly port: number | undefined } | undefined;
  /** The index after the header. */
  readonly end: number;
}

/** §2.1: the word after `PROXY` distinguishes a header from a line typed by a person. */
const textBeginnings = ['PROXY TCP4 ', 'PROXY TCP6 ', 'PROXY UNKNOWN'].map(text => Buffer.from(text));

/** §2.2: twelve bytes that start no other protocol. */
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

const beginnings = [signature, ...textBeginnings];

/** §2.1: the longest line of version 1, including CRLF. */
const longestLine = 107;

/** Signature, version and command, family and transport, length (§2.2). */
const binaryHead = 16;

/** §2.2: bytes of the addresses of each family, over a stream. */
const inet = { family: 0x11, size: 12, addressBytes: 4 };
const inet6 = { family: 0x21, size: 36, addressBytes: 16 };
const unix = { family: 0x31, size: 216 };

/** Whether `bytes[start, end)` begin with a header; `undefined` if there are too few bytes to tell. */
export function beginsProxyHeader(bytes: Buffer, start: number, end: number): boolean | undefined {
  let mayBe: boolean | undefined = false;
  for (const beginning of beginnings) {
    // This check runs for every connection, so the first byte is compared first.
    if (end > start && bytes[start] !== beginning[0]) continue;
    const known = Math.min(end - start, beginning.length);
    if (beginning.compare(bytes, start, start + known, 0, known) !== 0) continue;
    if (known === beginning.length) return true;
    mayBe = undefined;
  }
  return mayBe;
}

/**
 * Reads the header that `bytes[start, end)` begin with, as `beginsProxyHeader` said.
 * @returns `undefined` while it is incomplete
 * @throws ProtocolError 400: nothing on such a connection can be trusted
 */
export function readProxyHeader(bytes: Buffer, start: number, end: number): ProxyHeader | undefined {
  return bytes[start] === signature[0] ? readBinary(bytes, start, end) : readLine(bytes, start, end);
}

function malformed(what: string): ProtocolError {
  return new ProtocolError(400, `the PROXY header is malformed: ${what}`);
}

/** §2.1: `PROXY`, the protocol, two addresses, two ports, one space between each, and CRLF. */
function readLine(bytes: Buffer, start: number, end: number): ProxyHeader | undefined {
  const text = bytes.toString('latin1', start, Math.min(end, start + longestLine));
  const lineEnd = text.indexOf('\n');
  if (lineEnd < 0) {
    if (text.length < longestLine) return undefined;
    throw malformed(`its line is longer than ${longestLine} bytes`);
  }
  if (text[lineEnd - 1] !== '\r') throw malformed('its line does not end in CRLF');
  const line = text.slice(0, lineEnd - 1);
  const after = start + lineEnd + 1;
  // §2.1: after `UNKNOWN`, the receiver must ignore the rest of the line.
  if (/^PROXY UNKNOWN(?: |$)/.test(line)) return { source: undefined, end: after };
  const [, family, source = '', destination = '', port, ownPort] =
    /^PROXY TCP([46]) ([\da-f.:]+) ([\da-f.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})$/i.exec(line) ?? [];
  const isFit = (text: string) => text.includes(':') === (family === '6') && parseIp(text) !== undefined;
  if (!isFit(source) || !isFit(destination)) throw malformed('its addresses do not match its family');
  if (Number(port) > 65_535 || Number(ownPort) > 65_535) throw malformed('a port is at most 65535');
  return { source: { address: source, port: Number(port) }, end: after };
}

function readBinary(bytes: Buffer, start: number, end: number): ProxyHeader | undefined {
  if (end - start < binaryHead) return undefined;
  const version = bytes[start + 12]! >> 4;
  const command = bytes[start + 12]! & 0x0f;
  const family = bytes[start + 13]!;
  const size = bytes.readUInt16BE(start + 14);
  // §2.2: a receiver must reject other versions and commands.
  if (version !== 2) throw malformed(`its version is ${version}, not 2`);
  if (command > 1) throw malformed(`its command ${command} is unknown`);
  if (size > maxProxyHeader) throw malformed(`it has ${size} bytes; the limit is ${maxProxyHeader}`);
  const addresses = start + binaryHead;
  const after = addresses + size;
  if (end < after) return undefined;
  // §2.2: LOCAL is the proxy's own connection, such as a health check; UNSPEC is an unknown family.
  if (command === 0 || family === 0) return { source: undefined, end: after };
  // Extensions (§2.2.1 and following) after the addresses are ignored.
  for (const { family: known, size: needed, addressBytes } of [inet, inet6]) {
    if (family !== known) continue;
    if (size < needed) throw malformed(`its addresses need ${needed} bytes, but it has ${size}`);
    const ip = bytes.subarray(addresses, addresses + addressBytes);
    const port = bytes.readUInt16BE(addresses + 2 * addressBytes);
    return { source: { address: addressBytes === 4 ? ip.join('.') : showIp(ip), port }, end: after };
  }
  if (family !== unix.family) throw malformed(`its address family ${family} is unknown`);
  if (size < unix.size) throw malformed(`its addresses need ${unix.size} bytes, but it has ${size}`);
  return { source: { address: undefined, port: undefined }, end: after };
}
