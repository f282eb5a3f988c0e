/** The server's half of the opening handshake, RFC 6455 §4.2. */
import { Buffer } from 'node:buffer';
import * as crypto from 'node:crypto';
import { ProtocolError } from '../codes.ts';
import { hasToken, isToken, splitList } from '../http/fields.ts';
import type { Head } from '../http/head.ts';
import { checkOrigin } from '../http/origin.ts';
import {
  type Compression,
  type DeflateAgreement,
  type DeflateParameters,
  type Extension,
  negotiateDeflate,
  parseExtensions,
} from './extensions.ts';

/** What the server supports. */
export interface HandshakePolicy {
  /** Supported subprotocols, case-sensitive. */
  readonly subprotocols: Pick<ReadonlySet<string>, 'has'>;
  /** Rules for `checkOrigin`. */
  readonly origins: readonly string[];
  /** A mode, or a function that answers the client's offers. */
  readonly compression: Compression | ((offers: readonly Extension[]) => DeflateAgreement | undefined);
}

/** An accepted handshake. */
export interface Accepted {
  /** The complete response, which the caller owns. */
  readonly response: Buffer;
  /** As in `Head`: percent-encoded. */
  readonly path: string;
  readonly query: string;
  readonly subprotocol: string | undefined;
  /** Undefined: no compression. */
  readonly deflate: DeflateParameters | undefined;
}

/** RFC 9110 §15.5.22: a 426 names the protocol in Upgrade; §7.8: Upgrade requires `Connection: Upgrade`. */
const upgradeRequired = { Upgrade: 'websocket', Connection: 'Upgrade' };

/**
 * Whether a request is an attempt at a handshake, valid or not. The key counts, too: proxies without WebSocket support drop
 * Upgrade and pass the other fields on.
 */
export function asksForWebSocket(head: Head): boolean {
  return hasToken(head.headers.get('upgrade'), 'websocket') || head.headers.has('sec-websocket-key');
}

/**
 * Checks a client's handshake and answers it.
 * @throws ProtocolError 400, 403, 405, 426 or 505, with the header fields that the status requires.
 */
export function acceptHandshake(head: Head, policy: HandshakePolicy): Accepted {
  const { headers } = head;
  // RFC 6455 §4.2.1, §4.2.2 [4.2.2-1]: the server checks everything before it answers.
  checkRequest(head);
  const key = headers.get('sec-websocket-key');
  // RFC 6455 §4.2.1, 5 [4.1-24, 4.1-25, 4.3-1]: base64 of 16 bytes. A repeated key, joined by a comma, does not match.
  // Bits after the 128th are not checked: §4.2.2, 4 does not require decoding the key, and RFC 4648 §3.5 leaves them
  // open.
  if (key === undefined || !/^[A-Za-z\d+/]{22}==$/.test(key)) {
    throw new ProtocolError(400, 'Sec-WebSocket-Key is not the base64 of 16 bytes');
  }
  // RFC 6455 §10.2 [10.2-1]: a server that serves only certain sites checks the origin.
  checkOrigin(head, policy.origins);
  const subprotocol = chooseSubprotocol(headers.get('sec-websocket-protocol'), policy.subprotocols);
  const extensions = headers.get('sec-websocket-extensions');
  // RFC 6455 §9.1 [9.1-1]: a malformed list fails the handshake.
  const offers = extensions === undefined ? [] : parseExtensions(extensions, 400);
  const { compression } = policy;
  const deflate =
    typeof compression === 'function' ? compression(offers) : negotiateDeflate(offers, compression);

  // RFC 6455 §4.2.2, 5 [4.2.2-12]: the response.
  let response = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptValueFor(key)}\r\n`;
  // RFC 6455 §4.2.2 [4.2.2-9]: without a common subprotocol, the response has no such header.
  if (subprotocol !== undefined) response += `Sec-WebSocket-Protocol: ${subprotocol}\r\n`;
  // RFC 6455 §4.2.2 [4.2.2-11, 9-2]; RFC 7692 §5 [7692-5-7]: the response lists only the offer that the server accepts.
  if (deflate !== undefined) response += `Sec-WebSocket-Extensions: ${deflate.response}\r\n`;
  return {
    response: Buffer.from(`${response}\r\n`, 'latin1'),
    path: head.path,
    query: head.query,
    subprotocol,
    deflate: deflate?.parameters,
  };
}

/** RFC 6455 §1.3: the same for all servers. */
export const handshakeGuid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/**
 * `Sec-WebSocket-Accept`, which proves to the sender of `key` that the server understood the handshake (RFC 6455 §4.2.2,
 * 5.4 [4.2.2-a]).
 */
export function acceptValueFor(key: string): string {
  const proof = key + handshakeGuid;
  // Faster than createHash, but only in Node 20.12 and later.
  if (typeof crypto.hash === 'function') return crypto.hash('sha1', proof, 'base64');
  return crypto.createHash('sha1').update(proof).digest('base64');
}

function checkRequest(head: Head): void {
  const { headers } = head;
  // RFC 6455 §4.2.1, 1 [4.1-19]: HTTP/1.1 or higher. A 426 would be wrong, because the client does request an upgrade.
  // The version is usually a proxy's: nginx uses HTTP/1.0 for upstreams by default.
  if (head.version === '1.0') throw new ProtocolError(505, 'a WebSocket handshake needs HTTP/1.1, not 1.0');
  // RFC 6455 §4.2.1, 1 [4.1-19]: a GET request. RFC 9110 §15.5.6: a 405 lists the allowed methods.
  if (head.method !== 'GET') {
    throw new ProtocolError(405, `a WebSocket handshake is a GET, not a ${head.method}`, { Allow: 'GET' });
  }
  // Bytes after the head would be read as frames.
  if (head.bodyLength !== 0) throw new ProtocolError(400, 'a WebSocket handshake has no body');
  // RFC 6455 §4.2.1, 3 [4.1-22]: Upgrade contains "websocket".
  if (!hasToken(headers.get('upgrade'), 'websocket')) {
    const reason = 'this path accepts WebSocket only, and the header "Upgrade: websocket" is missing';
    throw new ProtocolError(426, reason, upgradeRequired);
  }
  // RFC 6455 §4.2.1, 4 [4.1-23]: Connection contains "Upgrade".
  if (!hasToken(headers.get('connection'), 'upgrade')) {
    throw new ProtocolError(400, 'the Connection header does not have "Upgrade"');
  }
  // RFC 6455 §4.2.2, 4 and §4.4 [4.1-29, 4.1-30, 4.2.2-6, 4.4-1]: the answer to any other version names the supported
  // one. A missing version, as in drafts before 04, or a repeated one gets the same answer.
  if (headers.get('sec-websocket-version') !== '13') {
    const answer = { ...upgradeRequired, 'Sec-WebSocket-Version': '13' };
    throw new ProtocolError(426, 'Sec-WebSocket-Version is not 13', answer);
  }
}

/** The client's first subprotocol that the server supports; having none in common is not an error. */
function chooseSubprotocol(
  value: string | undefined,
  known: HandshakePolicy['subprotocols'],
): string | undefined {
  if (value === undefined) return undefined;
  const wanted = splitList(value);
  // RFC 6455 §4.1, 10 [4.1-32]: unique tokens. RFC 9110 §5.6.1.2: empty elements are ignored.
  if (!wanted.every(isToken) || new Set(wanted).size !== wanted.length) {
    throw new ProtocolError(400, 'Sec-WebSocket-Protocol is not a list of distinct tokens');
  }
  // RFC 6455 §4.2.2, 4 [4.2.2-8]: only a subprotocol that the client offered.
  return wanted.find(name => known.has(name));
}
