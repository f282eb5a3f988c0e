/** Pollywog's own cases of a server's opening handshake (RFC 6455 §4.2), which the classic suite does not test. */
import { Buffer } from 'node:buffer';
import { hasToken } from '../../protocol/http/fields.ts';
import type { ResponseHead } from '../../protocol/http/head.ts';
import {
  answered,
  type CasePlan,
  type CaseRow,
  type ConformanceCase,
  echoOfText,
  type HandshakeDemand,
  inGroup,
  type OpeningRequest,
  sendText,
} from '../case.ts';

type Refusal = NonNullable<HandshakeDemand['refusal']>;
type Alteration = (request: OpeningRequest) => OpeningRequest;

/** Replaces a field. @param value undefined: removes it */
function withField(name: string, value: string | undefined): Alteration {
  return request => ({
    ...request,
    fields: request.fields.flatMap(field =>
      field[0] !== name ? [field] : value === undefined ? [] : [[name, value] as const],
    ),
  });
}

/** Adds a field, even if the request already has one of that name. */
const plusField =
  (name: string, value: string): Alteration =>
  request => ({ ...request, fields: [...request.fields, [name, value]] });

/** After the server has accepted, it must echo as usual. */
const echo = (): CasePlan => answered([sendText('Hello')], [echoOfText('Hello')]);

function refused(
  name: string,
  what: string,
  alter: Alteration,
  refusal: Refusal,
  check?: HandshakeDemand['check'],
): CaseRow {
  return {
    name,
    description: `Sends a handshake ${what}.`,
    expectation: `The server refuses with status ${refusal.statuses.join(' or ')}.`,
    handshake: { alter, refusal, ...(check === undefined ? {} : { check }) },
    plan: echo,
  };
}

function accepted(name: string, what: string, demand: HandshakeDemand): CaseRow {
  return {
    name,
    description: `Sends a handshake ${what}.`,
    expectation: 'The server accepts the handshake, and echoes a text.',
    handshake: demand,
    plan: echo,
  };
}

/** RFC 6455 §4.4: a server that does not support the version names those that it supports. */
function namesVersion({ status, headers }: ResponseHead): string | undefined {
  if (status < 400) return undefined;
  return hasToken(headers.get('sec-websocket-version'), '13')
    ? undefined
    : 'Sec-WebSocket-Version in the response does not name 13';
}

const mixedCase: Alteration = request => ({
  ...request,
  fields: request.fields.map(([name, value]) => [
    name.toUpperCase(),
    name === 'Upgrade' ? 'WebSocket' : name === 'Connection' ? 'keep-alive, UPGRADE' : value,
  ]),
});

/** The key of the example in RFC 6455 §1.3. */
const sampleKey = 'dGhlIHNhbXBsZSBub25jZQ==';

/** Accepting is FAILED. The request asks for no WebSocket, so the server may serve it as an ordinary one. */
const noUpgrade: Refusal = { ifAccepted: 'FAILED', statuses: [200, 400, 404, 426] };
/** Accepting the request is FAILED. */
const strict: Refusal = { ifAccepted: 'FAILED', statuses: [400, 426] };
/** Accepting the request is NON-STRICT. */
const lenient: Refusal = { ifAccepted: 'NON-STRICT', statuses: [400] };

const refusals: CaseRow[] = [
  refused('post', 'with the method POST', request => ({ ...request, method: 'POST' }), {
    ifAccepted: 'FAILED',
    statuses: [400, 404, 405, 426, 501],
  }),
  refused('http-1.0', 'in HTTP/1.0', request => ({ ...request, version: 'HTTP/1.0' }), {
    ifAccepted: 'FAILED',
    statuses: [400, 404, 426, 505],
  }),
  refused('no-host', 'without Host', withField('Host', undefined), lenient),
  refused('no-upgrade', 'without Upgrade', withField('Upgrade', undefined), noUpgrade),
  refused('wrong-upgrade', 'whose Upgrade is h2c', withField('Upgrade', 'h2c'), noUpgrade),
  refused('no-connection', 'without Connection', withField('Connection', undefined), noUpgrade),
  refused(
    'connection-keep-alive',
    'whose Connection is keep-alive',
    withField('Connection', 'keep-alive'),
    noUpgrade,
  ),
  refused('no-key', 'without Sec-WebSocket-Key', withField('Sec-WebSocket-Key', undefined), strict),
  refused(
    'short-key',
    'whose key has 15 bytes',
    withField('Sec-WebSocket-Key', Buffer.alloc(15, 1).toString('base64')),
    lenient,
  ),
  refused(
    'long-key',
    'whose key has 17 bytes',
    withField('Sec-WebSocket-Key', Buffer.alloc(17, 1).toString('base64')),
    lenient,
  ),
  refused(
    'key-not-base64',
    'whose key is not base64',
    withField('Sec-WebSocket-Key', '!!!!!!!!!!!!!!!!!!!!!!=='),
    lenient,
  ),
  refused('two-keys', 'with two keys', plusField('Sec-WebSocket-Key', sampleKey), lenient),
  refused(
    'no-version',
    'without Sec-WebSocket-Version',
    withField('Sec-WebSocket-Version', undefined),
    strict,
  ),
  refused('version-14', 'with version 14', withField('Sec-WebSocket-Version', '14'), strict, namesVersion),
  refused(
    'version-8',
    'with version 8, from a draft of RFC 6455',
    withField('Sec-WebSocket-Version', '8'),
    { ...strict, ifAccepted: 'NON-STRICT' },
    namesVersion,
  ),
  refused(
    'version-not-a-number',
    'whose version is "thirteen"',
    withField('Sec-WebSocket-Version', 'thirteen'),
    strict,
    namesVersion,
  ),
  refused(
    'space-before-colon',
    'with a space before a colon, which RFC 9112 §5.1 forbids',
    request => ({
      ...request,
      fields: request.fields.map(([name, value]) => [name === 'Upgrade' ? 'Upgrade ' : name, value]),
    }),
    lenient,
  ),
  refused(
    'body',
    'with a body',
    request => ({
      ...request,
      fields: [...request.fields, ['Content-Length', '5']],
      body: Buffer.from('Hello'),
    }),
    lenient,
  ),
  refused(
    'extensions-malformed',
    'whose Sec-WebSocket-Extensions is malformed',
    plusField('Sec-WebSocket-Extensions', 'a; =b, ;'),
    lenient,
  ),
  refused(
    'subprotocols-malformed',
    'whose Sec-WebSocket-Protocol has a space in a name',
    plusField('Sec-WebSocket-Protocol', 'a b'),
    lenient,
  ),
];

const acceptances: CaseRow[] = [
  accepted('ordinary', 'as in RFC 6455 §4.1', {}),
  accepted('by-byte', 'one byte per write', { chop: 1 }),
  accepted(
    'letter-case',
    'with its names and tokens in different letter case, and with a list in Connection',
    {
      alter: mixedCase,
    },
  ),
  accepted('unknown-fields', 'with unknown fields', {
    alter: plusField('X-Unknown', 'a, b; c="d"'),
  }),
  accepted('query', 'whose target has a query', {
    alter: request => ({
      ...request,
      target: `${request.target}${request.target.includes('?') ? '&' : '?'}a=b`,
    }),
  }),
  accepted('unknown-extension', 'that offers an unknown extension', {
    alter: plusField('Sec-WebSocket-Extensions', 'x-unknown; a=b, x-other'),
  }),
  accepted('unknown-subprotocol', 'that offers an unknown subprotocol', {
    alter: plusField('Sec-WebSocket-Protocol', 'x-unknown-subprotocol'),
    mayRefuse: true,
  }),
];

/** RFC 7692 §7.1: the server declines unknown and invalid parameters, and accepts without compression. */
const declined = [
  'permessage-deflate; unknown',
  'permessage-deflate; server_max_window_bits=7',
  'permessage-deflate; server_max_window_bits=16',
  'permessage-deflate; server_max_window_bits=08',
  'permessage-deflate; server_max_window_bits',
  'permessage-deflate; client_max_window_bits=7',
  'permessage-deflate; client_max_window_bits=x',
  'permessage-deflate; server_no_context_takeover=1',
  'permessage-deflate; client_no_context_takeover=true',
  'permessage-deflate; server_no_context_takeover; server_no_context_takeover',
  'permessage-deflate; server_max_window_bits=9; server_max_window_bits=10',
].map(
  (offer, index): CaseRow => ({
    ...accepted(`invalid-offer-${index + 1}`, `that offers ${offer}`, {
      alter: plusField('Sec-WebSocket-Extensions', offer),
      mayRefuse: true,
    }),
    expectation: 'The server accepts without compression. Refusing the handshake is NON-STRICT.',
  }),
);

export const handshakes: readonly ConformanceCase[] = inGroup('Opening handshake', 'handshake', [
  ...acceptances,
  ...refusals,
  ...declined,
]);
