/** Pollywog's own cases of compression, for servers: frames, with the examples of RFC 7692 §7.2.3, and the negotiation (§7.1). */
import { Buffer } from 'node:buffer';
import { constants, deflateRawSync } from 'node:zlib';
import { CloseCode, Opcode } from '../../protocol/codes.ts';
import {
  answered,
  type CasePlan,
  type CaseRow,
  type ConformanceCase,
  type DeflateDemand,
  echoOfBinary,
  echoOfText,
  hex,
  inGroup,
  mustFail,
  type OutgoingData,
  pong,
  type Step,
  second,
  sendBinary,
  sendContinuation,
  sendFrame,
  sendPing,
  sendText,
} from '../case.ts';
import { byteFragments, greek } from './text.ts';

const rsv1 = { rsv: 4 };
const hello = hex('f2 48 cd c9 c9 07 00');

/** These cases test servers only, so `answer` accepts no offer. */
const demand = (...offers: string[]): DeflateDemand => ({ offers, answer: () => undefined });
const plainOffer = demand('permessage-deflate');

function deflated(payload: string | Buffer): Buffer {
  const bytes = deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH });
  // RFC 7692 §7.2.1: the sender removes the four bytes of the flush.
  return bytes.subarray(0, bytes.length - 4);
}

/** Implementations differ in the code for data that does not inflate: RFC 7692 names none. */
function refusesData(steps: readonly Step[]): CasePlan {
  const codes = [CloseCode.InvalidPayload, CloseCode.ProtocolError, CloseCode.InternalError];
  return mustFail(steps, CloseCode.InvalidPayload, { codes });
}

const frames: CaseRow[] = [
  {
    name: 'one-block',
    description: 'Sends a compressed text in one block (RFC 7692 §7.2.3.1).',
    expectation: 'The peer echoes the text.',
    plan: () => answered([sendText(hello, rsv1)], [echoOfText('Hello')]),
  },
  {
    name: 'fragments',
    description: 'Sends a compressed text in two fragments; only the first has RSV1.',
    expectation: 'The peer echoes the text.',
    plan: () =>
      answered(
        [sendText(hello.subarray(0, 3), { ...rsv1, fin: false }), sendContinuation(hello.subarray(3))],
        [echoOfText('Hello')],
      ),
  },
  {
    name: 'ping-between',
    description:
      'Sends a compressed text in three fragments, the last one empty, with a ping after the first.',
    expectation: 'The peer answers the ping, then echoes the text.',
    plan: () =>
      answered(
        [
          sendText(hello.subarray(0, 3), { ...rsv1, fin: false }),
          sendPing('between'),
          sendContinuation(hello.subarray(3), { fin: false }),
          sendContinuation(''),
        ],
        [pong('between'), echoOfText('Hello')],
      ),
  },
  {
    name: 'text-by-byte',
    description: 'Sends a compressed Greek text in fragments of one byte.',
    expectation: 'The peer echoes the text.',
    plan: () => answered(byteFragments(deflated(greek), rsv1), [echoOfText(greek)]),
  },
  {
    name: 'stored-block',
    description: 'Sends a compressed text in a stored block, without compression (RFC 7692 §7.2.3.3).',
    expectation: 'The peer echoes the text.',
    plan: () => answered([sendText(hex('00 05 00 fa ff 48 65 6c 6c 6f 00'), rsv1)], [echoOfText('Hello')]),
  },
  {
    name: 'final-block',
    description: 'Sends a compressed text in a block with BFINAL set (RFC 7692 §7.2.3.4).',
    expectation: 'The peer echoes the text.',
    plan: () => answered([sendText(hex('f3 48 cd c9 c9 07 00 00'), rsv1)], [echoOfText('Hello')]),
  },
  {
    name: 'two-blocks',
    description: 'Sends a compressed text in two blocks (RFC 7692 §7.2.3.5).',
    expectation: 'The peer echoes the text.',
    plan: () =>
      answered([sendText(hex('f2 48 05 00 00 00 ff ff ca c9 c9 07 00'), rsv1)], [echoOfText('Hello')]),
  },
  {
    name: 'empty',
    description: 'Sends an empty compressed text and an empty compressed binary message (RFC 7692 §7.2.3.6).',
    expectation: 'The peer echoes both.',
    plan: () =>
      answered(
        [sendText(hex('00'), rsv1), sendBinary(hex('02 00'), rsv1)],
        [echoOfText(''), echoOfBinary('')],
      ),
  },
  {
    name: 'plain-between',
    description: 'Sends two compressed texts with uncompressed messages between them.',
    expectation: 'The peer echoes all four, in order.',
    plan: () =>
      answered(
        [sendText(hello, rsv1), sendText('plain'), sendBinary(hello), sendText(hello, rsv1)],
        [echoOfText('Hello'), echoOfText('plain'), echoOfBinary(hello), echoOfText('Hello')],
      ),
  },
  {
    name: 'rsv1-in-continuation',
    description: 'Sends a compressed text in two fragments that both have RSV1.',
    expectation: 'The peer fails the connection with 1002 (RFC 7692 §6.1).',
    plan: () =>
      mustFail([
        sendText(hello.subarray(0, 3), { ...rsv1, fin: false }),
        sendContinuation(hello.subarray(3), rsv1),
      ]),
  },
  {
    name: 'rsv1-in-ping',
    description: 'Sends a ping with RSV1.',
    expectation: 'The peer fails the connection with 1002 (RFC 7692 §6.1).',
    plan: () => mustFail([sendPing('ping', rsv1)]),
  },
  {
    name: 'rsv1-in-close',
    description: 'Sends a close frame with RSV1.',
    expectation: 'The peer fails the connection with 1002 (RFC 7692 §6.1).',
    plan: () => mustFail([sendFrame(Opcode.Close, hex('03e8'), rsv1)]),
  },
  {
    name: 'rsv1-and-rsv2',
    description: 'Sends a compressed text with RSV1 and RSV2.',
    expectation: 'The peer fails the connection with 1002: no extension defines RSV2.',
    plan: () => mustFail([sendText(hello, { rsv: 6 })]),
  },
  {
    name: 'not-deflate',
    description: 'Sends a message with RSV1 whose payload is not DEFLATE data.',
    expectation: 'The peer fails the connection.',
    plan: () => refusesData([sendBinary(Buffer.alloc(100, 0xff), rsv1)]),
  },
  {
    name: 'reference-before-first',
    description: 'Sends compressed data with a back-reference to before the first byte.',
    expectation: 'The peer fails the connection.',
    plan: () => refusesData([sendBinary(hex('02 00 11 00 00'), rsv1)]),
  },
  {
    name: 'not-utf8',
    description: 'Sends a compressed text that is not UTF-8.',
    expectation: 'The peer fails the connection with 1007.',
    plan: () => mustFail([sendText(deflated(hex('cebae1bdb9eda080')), rsv1)], CloseCode.InvalidPayload),
  },
  {
    name: 'truncated',
    description: 'Sends the first half of a compressed text as a complete message.',
    expectation: 'RFC 7692 does not require the peer to notice. Many do not.',
    isInformational: true,
    plan: () => refusesData([sendText(deflated('Hello world Hello world, this is').subarray(0, 10), rsv1)]),
  },
].map((each): CaseRow => ({ ...each, tests: 'servers', deflate: plainOffer }));

/** Noise that repeats after `distance` bytes: compressing it needs a window of that size, and inflating the result, too. */
function repeatedNoise(distance: number, times: number): Buffer {
  const noise = Buffer.alloc(distance);
  let state = 1;
  for (let at = 0; at < distance; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    noise[at] = state >>> 24;
  }
  return Buffer.concat(Array.from({ length: times }, () => noise));
}

/** Each message is sent twice, so the second can refer to the first. Repetitions are within and beyond every size of a window. */
const trips: readonly OutgoingData[] = [200, 400, 3000, 12_000, 30_000]
  .map(distance => ({ isText: false, payload: repeatedNoise(distance, 3) }))
  .concat([{ isText: true, payload: Buffer.from('Jürgen says {"id":12}, '.repeat(200)) }])
  .flatMap(each => [each, each]);

const roundTrips = (): CasePlan =>
  answered([{ do: 'round trips', count: trips.length, message: index => trips[index]! }], [], {
    after: 20 * second,
    end: 'fail',
  });

/** Offers with each parameter alone, and with several. */
function offers(): string[] {
  const windows = [8, 9, 10, 12, 15];
  const single = [
    'client_max_window_bits',
    'server_no_context_takeover',
    'client_no_context_takeover',
    ...windows.map(bits => `server_max_window_bits=${bits}`),
    ...windows.map(bits => `client_max_window_bits=${bits}`),
  ];
  const several = [
    'server_no_context_takeover; client_no_context_takeover',
    'server_no_context_takeover; server_max_window_bits=9',
    'client_no_context_takeover; client_max_window_bits=9',
    'server_max_window_bits=9; client_max_window_bits=9',
    'client_max_window_bits=9; client_no_context_takeover; server_max_window_bits=9; server_no_context_takeover',
    'client_max_window_bits="10"',
  ];
  return ['', ...single, ...several].map(parameters =>
    ['permessage-deflate', parameters].filter(Boolean).join('; '),
  );
}

const nameOf = (offer: string) =>
  offer
    .replace(/^permessage-deflate(?:; )?/, '')
    .replaceAll('"', 'quoted-')
    .replaceAll(/[^a-z\d]+/g, '-')
    .replace(/^-|-$/g, '') || 'bare';

const negotiations: CaseRow[] = offers().map(offer => ({
  name: `offer-${nameOf(offer)}`,
  description: `Offers ${offer}, and sends ${trips.length} compressed messages, each after the echo of the previous one.`,
  expectation: 'The server grants the offered parameters, and its echoes keep to them.',
  tests: 'servers',
  deflate: demand(offer),
  plan: roundTrips,
}));

const choices: CaseRow[] = [
  {
    name: 'second-offer',
    description: 'Offers permessage-deflate with an unknown parameter, then without.',
    expectation:
      'The server declines the first offer and accepts the second. Refusing the handshake is NON-STRICT.',
    tests: 'servers',
    handshake: { mayRefuse: true },
    deflate: demand('permessage-deflate; server_max_window_bits=16', 'permessage-deflate'),
    plan: roundTrips,
  },
];

export const strictCompression: readonly ConformanceCase[] = inGroup('Compression, strictly', 'deflate', [
  ...frames,
  ...negotiations,
  ...choices,
]);
