/** The client's half of the opening handshake, RFC 6455 §4.1. */
import { Buffer } from 'node:buffer';
import { CloseCode, ProtocolError } from '../codes.ts';
import { hasToken, isHost, isToken, splitList } from '../http/fields.ts';
import type { ResponseHead } from '../http/head.ts';
import {
  acceptDeflateResponse,
  type Compression,
  type DeflateParameters,
  offerDeflate,
  parseExtensions,
} from './extensions.ts';
import { acceptValueFor } from './handshake.ts';

/** The client's request. */
export interface HandshakeRequest {
  /** Host, and port unless it is the scheme's default: `example.com:8080`, `[::1]`. */
  readonly host: string;
  /** The resource name, RFC 6455 §3: path and query, percent-encoded. */
  readonly path: string;
  /** In order of preference; may be empty. */
  readonly subprotocols: readonly string[];
  /** Further header fields, such as Cookie and Authorization. */
  readonly headers: Readonly<Record<string, string>>;
  /** Required of browsers only. */
  readonly origin: string | undefined;
  readonly compression: Compression;
}

/** The result of the handshake. */
export interface Agreement {
  readonly subprotocol: string | undefined;
  /** Undefined: no compression. */
  readonly deflate: DeflateParameters | undefined;
}

/**
 * The bytes of the request, which the caller owns.
 * @param nonce 16 random bytes, different for each connection (RFC 6455 §4.1, 7).
 * @throws TypeError if the request would be invalid, which is the caller's mistake and not the peer's.
 */
export function startHandshake(request: HandshakeRequest, nonce: Uint8Array): Buffer {
  checkRequest(request, nonce);
  // RFC 6455 §4.1, 4 to 9 [4.1-21, 4.1-22, 4.1-23, 4.1-24, 4.1-29, 4.1-30]: the required headers.
  const fields: [name: string, value: string][] = [
    ['Host', request.host],
    ['Upgrade', 'websocket'],
    ['Connection', 'Upgrade'],
    ['Sec-WebSocket-Key', encodeKey(nonce)],
    ['Sec-WebSocket-Version', '13'],
  ];
  // RFC 6455 §4.1, 8 [4.1-28]: only browsers must send Origin.
  if (request.origin !== undefined) fields.push(['Origin', request.origin]);
  // RFC 6455 §4.1, 10 [4.1-31]: subprotocols are optional.
  if (request.subprotocols.length > 0) {
    fields.push(['Sec-WebSocket-Protocol', request.subprotocols.join(', ')]);
  }
  const offer = offerDeflate(request.compression);
  // RFC 6455 §4.1, 11 [4.1-33]: extensions are optional.
  if (offer !== undefined) fields.push(['Sec-WebSocket-Extensions', offer]);
  const own = new Set(fields.map(([name]) => name.toLowerCase()));
  for (const [name, value] of Object.entries(request.headers)) {
    const lower = name.toLowerCase();
    if (!isToken(name) || own.has(lower) || lower.startsWith('sec-websocket-')) {
      throw new TypeError(
        `the header ${JSON.stringify(name)} is not a valid header name, or is reserved for the handshake`,
      );
    }
    // RFC 6455 §4.1, 12 [4.1-34]: other headers may follow.
    fields.push([name, value]);
  }
  // RFC 6455 §4.1, 1 to 3 [4.1-18, 4.1-19, 4.1-20]: a GET of the resource name, in HTTP/1.1.
  let head = `GET ${request.path} HTTP/1.1\r\n`;
  for (const [name, value] of fields) {
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) {
      throw new TypeError(
        `the value of the header ${name} contains a character that is not allowed in a header`,
      );
    }
    head += `${name}: ${value}\r\n`;
  }
  return Buffer.from(`${head}\r\n`, 'latin1');
}

function checkRequest(request: HandshakeRequest, nonce: Uint8Array): void {
  // RFC 6455 §4.1, 7 [4.1-25]: the key is the base64 of 16 bytes.
  if (nonce.length !== 16) throw new TypeError('the nonce is not 16 bytes long');
  if (!isHost(request.host)) throw new TypeError(`${JSON.stringify(request.host)} is not a host`);
  // RFC 6455 §3 [3-2]: no fragment.
  if (!/^\/[\x21\x22\x24-\x7e]*$/.test(request.path)) {
    throw new TypeError(`${JSON.stringify(request.path)} is not a percent-encoded path`);
  }
  const { subprotocols } = request;
  // RFC 6455 §4.1, 10 [4.1-32]: distinct tokens.
  if (!subprotocols.every(isToken) || new Set(subprotocols).size !== subprotocols.length) {
    throw new TypeError('the subprotocols must be distinct tokens');
  }
}

function encodeKey(nonce: Uint8Array): string {
  return Buffer.from(nonce).toString('base64');
}

/**
 * Checks the server's answer, RFC 6455 §4.1.
 * @param request, nonce those that `startHandshake` was given.
 * @throws ProtocolError with the server's status if that is not 101, and with 1002 for an invalid answer. Either way the
 * connection ends without a close frame, because there is no WebSocket connection yet.
 */
export function finishHandshake(head: ResponseHead, request: HandshakeRequest, nonce: Uint8Array): Agreement {
  const { headers } = head;
  // RFC 6455 §4.1, response 1 [4.1-36]: any status but 101 is a refusal.
  if (head.status !== 101) {
    throw new ProtocolError(head.status, `the server refused: ${head.status} ${head.reason}`.trimEnd());
  }
  // RFC 9110 §7.8: HTTP/1.0 has no upgrades. RFC 6455 §4.1 [4.1-42].
  if (head.version === '1.0') throw broken('the server upgrades in HTTP/1.0');
  const upgrade = splitList(headers.get('upgrade')?.toLowerCase() ?? '');
  // RFC 6455 §4.1, response 2 [4.1-37]: Upgrade is "websocket", in upper or lower case.
  if (upgrade.length !== 1 || upgrade[0] !== 'websocket') throw broken('Upgrade is not "websocket"');
  // RFC 6455 §4.1, response 3 [4.1-38]: Connection contains "Upgrade".
  if (!hasToken(headers.get('connection'), 'upgrade')) throw broken('Connection does not have "Upgrade"');
  // RFC 6455 §4.1, response 4 [4.1-39]: the accept value proves that the server read our key.
  if (headers.get('sec-websocket-accept') !== acceptValueFor(encodeKey(nonce))) {
    throw broken('Sec-WebSocket-Accept does not belong to the key');
  }
  // RFC 6455 §4.1, response 5 [9.1-1]: a malformed list fails the connection.
  const extensions = headers.get('sec-websocket-extensions');
  const agreed = extensions === undefined ? [] : parseExtensions(extensions, CloseCode.ProtocolError);
  const deflate = acceptDeflateResponse(agreed, request.compression);
  const [subprotocol, ...others] = splitList(headers.get('sec-websocket-protocol') ?? '');
  // RFC 6455 §4.1, response 6 [4.1-41]: an offered subprotocol. If the server selects none, the caller decides.
  if (subprotocol !== undefined && (others.length > 0 || !request.subprotocols.includes(subprotocol))) {
    throw broken('Sec-WebSocket-Protocol is not one that was offered');
  }
  return { subprotocol, deflate };
}

function broken(reason: string): ProtocolError {
  return new ProtocolError(CloseCode.ProtocolError, `the server's handshake is invalid: ${reason}`);
}
