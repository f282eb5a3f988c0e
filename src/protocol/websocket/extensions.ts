/**
 * The `Sec-WebSocket-Extensions` header (RFC 6455 §9.1) and the negotiation of permessage-deflate (RFC 7692 §7.1), the only
 * extension.
 */
import { CloseCode, ProtocolError } from '../codes.ts';

/** One element of the header: an offer in a request, an agreement in a response. */
export interface Extension {
  readonly name: string;
  /** In order; undefined for a parameter without a value. */
  readonly parameters: readonly (readonly [name: string, value: string | undefined])[];
}

/**
 * `on` keeps no context between messages in either direction, so idle connections need no memory for it; `takeover` keeps
 * the context unless the peer asks not to, and compresses better.
 */
export type Compression = 'off' | 'on' | 'takeover';

/** The negotiated parameters, RFC 7692 §7.1. */
export interface DeflateParameters {
  /** The server compresses every message from an empty window. */
  readonly serverNoContextTakeover: boolean;
  /** The client compresses every message from an empty window. */
  readonly clientNoContextTakeover: boolean;
  /** 8 to 15: the server's window has at most 2 to the power of this many bytes. */
  readonly serverMaxWindowBits: number;
  /** 8 to 15, in the same way, for the client's window. */
  readonly clientMaxWindowBits: number;
}

/** The agreed parameters, and the value of the response header. */
export interface DeflateAgreement {
  readonly parameters: DeflateParameters;
  readonly response: string;
}

/** The registered name. RFC 6455 §9.1 [9.1-4], §11.4. */
const extensionName = 'permessage-deflate';

/**
 * RFC 6455 §9.1 [9.1-2, 4.3-1], extension-list: one name or parameter, and its delimiter. A quoted value must be a token
 * after unescaping, so each of its characters may have a backslash. White space is RFC 2616's implied *LWS. Sticky, and
 * unambiguous about the end of each part, so matching takes linear time.
 */
const element =
  /[ \t]*([\w!#$%&'*+.^`|~-]+)(?:[ \t]*=[ \t]*(?:([\w!#$%&'*+.^`|~-]+)|"((?:\\?[\w!#$%&'*+.^`|~-])+)"))?[ \t]*(;|,|$)/y;

/** RFC 9110 §5.6.1.2: a recipient ignores empty elements, so any run of commas and blanks separates extensions. */
const separators = /[ \t,]*/y;

/**
 * Parses a `Sec-WebSocket-Extensions` header.
 * @param refusal the code for a malformed value: 400 in a server, 1002 in a client.
 * @throws ProtocolError: RFC 6455 §9.1: the receiver of a malformed value must fail the connection.
 */
export function parseExtensions(value: string, refusal: number): Extension[] {
  const extensions: Extension[] = [];
  let parameters: [string, string | undefined][] | undefined;
  element.lastIndex = 0;
  for (let separator: string | undefined = ','; separator !== ''; ) {
    if (parameters === undefined) {
      separators.lastIndex = element.lastIndex;
      separators.test(value);
      element.lastIndex = separators.lastIndex;
      if (element.lastIndex === value.length) break;
    }
    const match = element.exec(value);
    // RFC 6455 §9.1 [9.1-1]: a value that violates the grammar fails the connection.
    if (match === null) throw new ProtocolError(refusal, 'the Sec-WebSocket-Extensions header is malformed');
    const [, name = '', token, quoted] = match;
    const given = token ?? quoted?.replaceAll('\\', '');
    if (parameters !== undefined) {
      parameters.push([name, given]);
    } else {
      if (given !== undefined) {
        throw new ProtocolError(
          refusal,
          'an extension name in Sec-WebSocket-Extensions is followed by a value',
        );
      }
      parameters = [];
      extensions.push({ name, parameters });
    }
    separator = match[4];
    if (separator === ',') parameters = undefined;
  }
  return extensions;
}

/**
 * The server's half: accepts the first acceptable offer of permessage-deflate.
 * RFC 7692 §7.1: an offer with an unknown, repeated or invalid parameter is declined without an error.
 * @returns undefined for no compression
 */
export function negotiateDeflate(
  offers: readonly Extension[],
  mode: Compression,
): DeflateAgreement | undefined {
  // RFC 6455 §9 [9-1, 9.2-1]; RFC 7692 §7 [7692-7-4]: a server may decline every offer.
  if (mode === 'off') return undefined;
  for (const offer of offers) {
    const offered = offer.name === extensionName ? readParameters(offer) : undefined;
    // RFC 7692 §5 [7692-5-1, 7692-5-2, 4.2.2-10]: the first acceptable offer.
    if (offered !== undefined) return acceptOffer(offered, mode);
  }
  return undefined;
}

/** The parameters of an offer or agreement; `true` is a window parameter without a value. */
interface NamedParameters {
  serverNoContextTakeover: boolean;
  clientNoContextTakeover: boolean;
  serverMaxWindowBits: number | undefined;
  clientMaxWindowBits: number | true | undefined;
}

/** Undefined if a parameter is unknown, repeated or has an invalid value (RFC 7692 §7.1.1, §7.1.2). */
function readParameters(extension: Extension): NamedParameters | undefined {
  const named: NamedParameters = {
    serverNoContextTakeover: false,
    clientNoContextTakeover: false,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: undefined,
  };
  for (const [name, value] of extension.parameters) {
    // RFC 7692 §7.1.2 [7692-7.1.2.1-2, 7692-7.1.2.2-2, 7692-7-2, 7692-7-6]: a decimal from 8 to 15 without leading zeroes.
    const bits = value !== undefined && /^(?:[89]|1[0-5])$/.test(value) ? Number(value) : undefined;
    // RFC 7692 §7 [7692-7-3, 7692-7-7]: no repeated parameter.
    if (name === 'server_no_context_takeover' && !named.serverNoContextTakeover && value === undefined) {
      named.serverNoContextTakeover = true;
    } else if (
      name === 'client_no_context_takeover' &&
      !named.clientNoContextTakeover &&
      value === undefined
    ) {
      named.clientNoContextTakeover = true;
    } else if (name === 'server_max_window_bits' && named.serverMaxWindowBits === undefined && bits) {
      named.serverMaxWindowBits = bits;
    } else if (name === 'client_max_window_bits' && named.clientMaxWindowBits === undefined) {
      if (value !== undefined && bits === undefined) return undefined;
      named.clientMaxWindowBits = bits ?? true;
    } else {
      // RFC 7692 §7 [7692-7-1, 7692-7-5, 9-3, 9.1-5]: every parameter must be defined.
      return undefined;
    }
  }
  return named;
}

function acceptOffer(offered: NamedParameters, mode: 'on' | 'takeover'): DeflateAgreement {
  // RFC 7692 §7.1.1 [7692-7.1.1.1-2, 7692-7.1.1.1-3, 7692-7.1.1.1-5, 7692-7.1.1.2-2]: the server must grant the client's
  // request, and may restrict the client without one.
  const serverNoContextTakeover = mode === 'on' || offered.serverNoContextTakeover;
  const clientNoContextTakeover = mode === 'on' || offered.clientNoContextTakeover;
  // RFC 7692 §7.1.2.2: a window size in the offer is a hint, and echoing it makes it binding. That saves memory with context
  // takeover, where each connection keeps a window. Without it no connection keeps one, so there is nothing to save.
  // RFC 7692 §7.1.2.2 [7692-7.1.2.2-3, 7692-7.1.2.2-4]: only if the offer has the parameter.
  const clientMaxWindowBits =
    mode === 'takeover' && typeof offered.clientMaxWindowBits === 'number'
      ? offered.clientMaxWindowBits
      : undefined;
  return agreementOn(offered, { serverNoContextTakeover, clientNoContextTakeover, clientMaxWindowBits });
}

/** @param decided the server's decisions; a window size is undefined if the response does not limit it */
function agreementOn(
  { serverMaxWindowBits }: NamedParameters,
  decided: {
    readonly serverNoContextTakeover: boolean;
    readonly clientNoContextTakeover: boolean;
    readonly clientMaxWindowBits: number | undefined;
  },
): DeflateAgreement {
  const { serverNoContextTakeover, clientNoContextTakeover, clientMaxWindowBits } = decided;
  let response = extensionName;
  if (serverNoContextTakeover) response += '; server_no_context_takeover';
  if (clientNoContextTakeover) response += '; client_no_context_takeover';
  // RFC 7692 §7.1.2.1 [7692-7.1.2.1-3]: the server grants the window that the client asks for.
  if (serverMaxWindowBits !== undefined) response += `; server_max_window_bits=${serverMaxWindowBits}`;
  if (clientMaxWindowBits !== undefined) response += `; client_max_window_bits=${clientMaxWindowBits}`;
  return {
    parameters: {
      serverNoContextTakeover,
      clientNoContextTakeover,
      serverMaxWindowBits: serverMaxWindowBits ?? 15,
      clientMaxWindowBits: clientMaxWindowBits ?? 15,
    },
    response,
  };
}

/** A server's demands on the client's compression. */
export interface DeflateWish {
  readonly clientNoContextTakeover: boolean;
  /** 8 to 15; undefined: no limit. The server can limit the window only if the client offers `client_max_window_bits`. */
  readonly clientMaxWindowBits?: number;
}

/**
 * Accepts an offer with a server's demands, for a conformance case: the first demand that any offer allows, and the first such
 * offer. The server grants every parameter that the offer demands of it, and no other.
 */
export function grantDeflate(
  offers: readonly Extension[],
  wishes: readonly DeflateWish[],
): DeflateAgreement | undefined {
  const usable = offers
    .filter(({ name }) => name === extensionName)
    .map(readParameters)
    .filter(offered => offered !== undefined);
  for (const wish of wishes) {
    // RFC 7692 §7.1.2.2: a server must not limit the client's window if the offer lacks the parameter.
    const offered = usable.find(
      ({ clientMaxWindowBits }) =>
        wish.clientMaxWindowBits === undefined || clientMaxWindowBits !== undefined,
    );
    if (offered !== undefined) return grantWish(offered, wish);
  }
  return undefined;
}

function grantWish(offered: NamedParameters, wish: DeflateWish): DeflateAgreement {
  const { serverNoContextTakeover, clientMaxWindowBits: offeredBits } = offered;
  // The offered value is an upper limit.
  const largest = typeof offeredBits === 'number' ? offeredBits : 15;
  return agreementOn(offered, {
    serverNoContextTakeover,
    // RFC 7692 §7.1.1.2: client_no_context_takeover in an offer is a hint. Only the response binds the client.
    clientNoContextTakeover: wish.clientNoContextTakeover,
    clientMaxWindowBits:
      wish.clientMaxWindowBits === undefined ? undefined : Math.min(wish.clientMaxWindowBits, largest),
  });
}

/** The client's offer, as the value of the header; undefined for none. */
export function offerDeflate(mode: Compression): string | undefined {
  if (mode === 'off') return undefined;
  // Like browsers, let the server choose our window size. RFC 7692 §7.1 [7692-7.1.2.2-1].
  const offer = `${extensionName}; client_max_window_bits`;
  // RFC 7692 §7.1.1 [7692-7.1.1.1-1, 7692-7.1.1.2-1]: both sides compress each message independently.
  return mode === 'on' ? `${offer}; server_no_context_takeover; client_no_context_takeover` : offer;
}

/**
 * The client's half: checks the server's response against `offerDeflate(mode)`.
 * @returns the agreement; undefined for no compression.
 * @throws ProtocolError 1002.
 */
export function acceptDeflateResponse(
  extensions: readonly Extension[],
  mode: Compression,
): DeflateParameters | undefined {
  const [agreed, second] = extensions;
  // RFC 6455 §9.1 [9.1-6]: the client uses no extension that the server does not accept.
  if (agreed === undefined) return undefined;
  // RFC 6455 §4.1 [4.1-40]; RFC 7692 §5 [7692-5-4]: an extension that was not requested fails the connection.
  if (mode === 'off' || agreed.name !== extensionName || second !== undefined) {
    throw invalidResponse('the server uses an extension that was not offered');
  }
  const named = readParameters(agreed);
  // RFC 7692 §7 [7692-5-6, 7692-7-5, 7692-7-6, 7692-7-7]: a parameter that is unknown, repeated or invalid in a response fails
  // the connection.
  if (named === undefined)
    throw invalidResponse('the server answers permessage-deflate with invalid parameters');
  // RFC 7692 §7.1.2.2 [7692-7.1.2.2-5, 7692-7-8]: in a response, client_max_window_bits has a value.
  if (named.clientMaxWindowBits === true) {
    throw invalidResponse('the server answers client_max_window_bits without a value');
  }
  // RFC 7692 §7.1.1.1: a server grants server_no_context_takeover by repeating it. Some servers always answer with a bare
  // permessage-deflate: their messages may use the context, so the client keeps its window.
  return {
    serverNoContextTakeover: named.serverNoContextTakeover,
    // RFC 7692 §7.1.1.2 [7692-7.1.1.2-3, 7692-7.1.1.2-4]: the server may forbid context takeover to the client.
    clientNoContextTakeover: mode === 'on' || named.clientNoContextTakeover,
    serverMaxWindowBits: named.serverMaxWindowBits ?? 15,
    clientMaxWindowBits: named.clientMaxWindowBits ?? 15,
  };
}

function invalidResponse(reason: string): ProtocolError {
  return new ProtocolError(CloseCode.ProtocolError, reason);
}
