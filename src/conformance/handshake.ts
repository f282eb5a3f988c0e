/** The opening handshake of a tester in a client's role: its request, and the faults of the server's response. */
import { Buffer } from 'node:buffer';
import { CloseCode, ProtocolError } from '../protocol/codes.ts';
import { splitList } from '../protocol/http/fields.ts';
import type { ResponseHead } from '../protocol/http/head.ts';
import { finishHandshake, type HandshakeRequest } from '../protocol/websocket/clientHandshake.ts';
import { type DeflateParameters, type Extension, parseExtensions } from '../protocol/websocket/extensions.ts';
import type { ConformanceCase, OpeningRequest } from './case.ts';
import { chopped } from './frameWriter.ts';
import { type CaseResult, handshakeResult } from './verdict.ts';

/** The handshake of a case: its writes, and the data to check the response. */
export interface Opening {
  readonly test: ConformanceCase;
  readonly request: HandshakeRequest;
  readonly nonce: Buffer;
  /** In order; each is a separate write. */
  readonly writes: readonly Buffer[];
}

/** @param request the user's request; its compression is ignored */
export function beginOpening(test: ConformanceCase, request: HandshakeRequest, nonce: Buffer): Opening {
  const fields: [string, string][] = [
    ['Host', request.host],
    ['Upgrade', 'websocket'],
    ['Connection', 'Upgrade'],
    ['Sec-WebSocket-Key', nonce.toString('base64')],
    ['Sec-WebSocket-Version', '13'],
  ];
  if (request.origin !== undefined) fields.push(['Origin', request.origin]);
  if (request.subprotocols.length > 0)
    fields.push(['Sec-WebSocket-Protocol', request.subprotocols.join(', ')]);
  if (test.deflate !== undefined) fields.push(['Sec-WebSocket-Extensions', test.deflate.offers.join(', ')]);
  fields.push(...Object.entries(request.headers));
  const ordinary: OpeningRequest = {
    ...{ method: 'GET', target: request.path, version: 'HTTP/1.1', fields, body: Buffer.alloc(0) },
  };
  const { alter, chop } = test.handshake ?? {};
  const altered = alter === undefined ? ordinary : alter(ordinary);
  const bytes = encodeRequest(altered);
  const writes = chopped(bytes, chop ?? bytes.length);
  return { test, request: { ...request, compression: 'off', subprotocols: offered(altered) }, nonce, writes };
}

/** The subprotocols in a request. */
function offered({ fields }: OpeningRequest): string[] {
  return fields.flatMap(([name, value]) =>
    name.toLowerCase() === 'sec-websocket-protocol' ? splitList(value) : [],
  );
}

function encodeRequest({ method, target, version, fields, body }: OpeningRequest): Buffer {
  const lines = [`${method} ${target} ${version}`, ...fields.map(([name, value]) => `${name}: ${value}`)];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

/** @returns the negotiated compression if the case continues; else its result */
export function readResponse(
  { test, request, nonce }: Opening,
  head: ResponseHead,
): { readonly deflate: DeflateParameters | undefined } | CaseResult {
  const { handshake } = test;
  const seen = `${head.status} ${head.reason}`.trimEnd();
  if (head.status !== 101) return readRefusal(test, head, seen);
  if (handshake?.refusal !== undefined) {
    return handshakeResult(test, handshake.refusal.ifAccepted, 'the server accepts', seen);
  }
  try {
    const extensions = head.headers.get('sec-websocket-extensions');
    const headers = new Map(head.headers);
    if (test.deflate !== undefined) headers.delete('sec-websocket-extensions');
    finishHandshake({ ...head, headers }, request, nonce);
    const deflate =
      test.deflate === undefined || extensions === undefined
        ? undefined
        : readAgreement(test.deflate.offers, extensions);
    const fault = handshake?.check?.(head);
    if (fault !== undefined) broken(fault);
    return { deflate };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return handshakeResult(test, 'FAILED', error.message, seen);
  }
}

function readRefusal(test: ConformanceCase, head: ResponseHead, seen: string): CaseResult {
  const { refusal, check, mayRefuse } = test.handshake ?? {};
  if (refusal === undefined) {
    const isTolerated = mayRefuse === true && head.status >= 400;
    return handshakeResult(test, isTolerated ? 'NON-STRICT' : 'FAILED', 'the server refuses', seen);
  }
  const fault = check?.(head);
  if (fault !== undefined) return handshakeResult(test, 'NON-STRICT', fault, seen);
  if (refusal.statuses.includes(head.status)) return handshakeResult(test, 'OK', 'the server refuses', seen);
  const isRefused = head.status >= 400;
  const sentence = `the status should be ${refusal.statuses.join(' or ')}`;
  return handshakeResult(test, isRefused ? 'NON-STRICT' : 'FAILED', sentence, seen);
}

/** The connection ended, or timed out, before a response arrived. */
export function withoutResponse(test: ConformanceCase, seen: string, hasEnded: boolean): CaseResult {
  const isRefused = test.handshake?.refusal !== undefined && hasEnded;
  return handshakeResult(test, isRefused ? 'NON-STRICT' : 'FAILED', 'there is no response', seen);
}

/** A response that is not HTTP. */
export function invalidResponse(test: ConformanceCase, error: ProtocolError): CaseResult {
  return handshakeResult(test, 'FAILED', error.message, 'an invalid response');
}

const extensionName = 'permessage-deflate';
const bits = /^(?:[89]|1[0-5])$/;

/** The parameters of an offer or a response, by name; `true` for one without a value. */
type NamedValues = ReadonlyMap<string, number | true>;

const broken = (reason: string): never => {
  throw new ProtocolError(CloseCode.ProtocolError, reason);
};

function namedValues({ parameters }: Extension): NamedValues {
  const values = new Map<string, number | true>();
  for (const [name, value] of parameters) {
    const isWindow = /^(?:server|client)_max_window_bits$/.test(name);
    const isKnown = isWindow || /^(?:server|client)_no_context_takeover$/.test(name);
    const isValid = isWindow ? value === undefined || bits.test(value) : value === undefined;
    if (!isKnown || !isValid || values.has(name))
      broken(`the parameter ${name} is unknown, repeated or invalid`);
    values.set(name, value === undefined ? true : Number(value));
  }
  return values;
}

/** RFC 7692 §7.1: the response must fit one of the offers. @throws ProtocolError if it fits none */
function readAgreement(offers: readonly string[], response: string): DeflateParameters {
  const [agreed, ...others] = parseExtensions(response, CloseCode.ProtocolError);
  if (agreed === undefined || agreed.name !== extensionName || others.length > 0)
    return broken('the server uses an extension that was not offered');
  const values = namedValues(agreed);
  const faults = parseExtensions(offers.join(', '), CloseCode.ProtocolError).map(offer => {
    try {
      return faultOf(namedValues(offer), values);
    } catch {
      return 'the response accepts an invalid offer';
    }
  });
  if (!faults.includes(undefined)) broken(`permessage-deflate: ${faults[0]}`);
  const window = (name: string) => {
    const value = values.get(name);
    return typeof value === 'number' ? value : 15;
  };
  return {
    serverNoContextTakeover: values.has('server_no_context_takeover'),
    clientNoContextTakeover: values.has('client_no_context_takeover'),
    serverMaxWindowBits: window('server_max_window_bits'),
    clientMaxWindowBits: window('client_max_window_bits'),
  };
}

/** Why a response does not fit an offer (RFC 7692 §7.1.1, §7.1.2). */
function faultOf(offer: NamedValues, response: NamedValues): string | undefined {
  if (offer.has('server_no_context_takeover') && !response.has('server_no_context_takeover'))
    return 'the response does not grant server_no_context_takeover';
  const asked = offer.get('server_max_window_bits');
  const granted = response.get('server_max_window_bits');
  if (granted === true) return 'server_max_window_bits has no value in the response';
  if (typeof asked === 'number' && (granted === undefined || granted > asked))
    return `the response does not grant server_max_window_bits=${asked}`;
  const client = response.get('client_max_window_bits');
  const limit = offer.get('client_max_window_bits');
  if (client === true) return 'client_max_window_bits has no value in the response';
  if (client !== undefined && limit === undefined) return 'client_max_window_bits was not offered';
  if (client !== undefined && typeof limit === 'number' && client > limit)
    return 'client_max_window_bits is larger than offered';
  return undefined;
}
