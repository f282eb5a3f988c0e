/**
 * Groups 12 and 13 of Autobahn's suite: permessage-deflate with different data, and with different parameters. The tester keeps its
 * window between messages unless the peer forbids that.
 */
import { type DeflateWish, grantDeflate } from '../../protocol/websocket/extensions.ts';
import { answered, type ConformanceCase, type DeflateDemand, second } from '../case.ts';
import { type PayloadKind, payloadKinds, pieceOf } from '../payloads.ts';

/** The length of the messages, the bytes per fragment after compression (0: one frame), and the time limit for all messages. */
const sizes: readonly (readonly [length: number, fragment: number, seconds: number])[] = [
  [16, 0, 60],
  [64, 0, 60],
  [256, 0, 120],
  [1024, 0, 240],
  [4096, 0, 480],
  [8192, 0, 480],
  [16_384, 0, 480],
  [32_768, 0, 480],
  [65_536, 0, 480],
  [131_072, 0, 480],
  [8192, 256, 480],
  [16_384, 256, 480],
  [32_768, 256, 480],
  [65_536, 256, 480],
  [131_072, 256, 480],
  [131_072, 1024, 480],
  [131_072, 4096, 480],
  [131_072, 32_768, 480],
];

/** The most bytes per case. The classic suite sends 11 GB in all, 1,000 messages of each size. With this limit, both groups take a minute. */
const maxVolume = 4 * 1024 * 1024;
const maxMessages = 1000;

const countOf = (length: number) => Math.min(maxMessages, Math.ceil(maxVolume / length));

interface Series {
  /** 12.1, for example; the cases are 12.1.1 to 12.1.18. */
  readonly number: string;
  readonly name: string;
  readonly group: string;
  readonly kind: PayloadKind;
  readonly deflate: DeflateDemand;
}

function casesOf({ number, name, group, kind, deflate }: Series): ConformanceCase[] {
  return sizes.map(([length, fragment, seconds], at) => {
    const count = countOf(length);
    const pieces = fragment === 0 ? '' : `, in fragments of ${fragment} bytes`;
    return {
      name: `compression/${name}-${length}${fragment === 0 ? '' : `-in-fragments-of-${fragment}`}`,
      number: `${number}.${at + 1}`,
      group,
      description: `Sends ${count} compressed messages of ${length} bytes${pieces}, each after the echo of the previous one: ${title(kind)}.`,
      expectation: `The peer echoes all messages within ${seconds} seconds.`,
      // A quick run has only messages of 1,024 bytes: implementations may leave shorter ones uncompressed.
      isLarge: length !== 1024,
      deflate,
      plan: () =>
        answered(
          [
            {
              do: 'round trips',
              count,
              message: index => ({
                isText: kind.isText,
                payload: pieceOf(kind, index * length, length),
                fragment: fragment === 0 ? undefined : fragment,
              }),
            },
          ],
          [],
          { after: seconds * second, end: 'close' },
        ),
    };
  });
}

const title = ({ title: its, isText, size }: PayloadKind) =>
  `${its} (${isText ? 'text' : 'binary'}, ${size} bytes)`;

/** A client's offer: lets the server restrict the client's direction in any way, and asks for these restrictions of the server's. */
function offer(asked: { readonly isFresh?: boolean; readonly bits?: number }): string {
  const fresh = asked.isFresh === true ? '; server_no_context_takeover' : '';
  const bits = asked.bits === undefined ? '' : `; server_max_window_bits=${asked.bits}`;
  return `permessage-deflate; client_no_context_takeover; client_max_window_bits${fresh}${bits}`;
}

function demand(offers: readonly string[], wishes: readonly DeflateWish[]): DeflateDemand {
  return { offers, answer: given => grantDeflate(given, wishes) };
}

const plain: DeflateWish = { clientNoContextTakeover: false };
const fresh: DeflateWish = { clientNoContextTakeover: true };
const fresh8: DeflateWish = { clientNoContextTakeover: true, clientMaxWindowBits: 8 };

/** Each row makes the same demands on a client and on a server. */
const parameters: readonly (readonly [name: string, words: string, deflate: DeflateDemand])[] = [
  ['plain', 'no parameters', demand([offer({})], [plain])],
  ['no-context', 'no context takeover', demand([offer({ isFresh: true })], [fresh])],
  [
    'window-8',
    'a window of 256 bytes',
    demand([offer({ bits: 8 })], [{ clientNoContextTakeover: false, clientMaxWindowBits: 8 }]),
  ],
  [
    'window-15',
    'a window of 32 KiB',
    demand([offer({ bits: 15 })], [{ clientNoContextTakeover: false, clientMaxWindowBits: 15 }]),
  ],
  [
    'no-context-window-8',
    'no context takeover, and a window of 256 bytes',
    demand([offer({ isFresh: true, bits: 8 })], [fresh8]),
  ],
  [
    'no-context-window-15',
    'no context takeover, and a window of 32 KiB',
    demand(
      [offer({ isFresh: true, bits: 15 })],
      [{ clientNoContextTakeover: true, clientMaxWindowBits: 15 }],
    ),
  ],
  [
    'three-offers',
    'three offers to choose from',
    demand([offer({ isFresh: true, bits: 8 }), offer({ isFresh: true }), offer({})], [fresh8, fresh, plain]),
  ],
];

const [json] = payloadKinds;

export const compressionCases: readonly ConformanceCase[] = [
  ...payloadKinds.map((kind, at) => ({
    number: `12.${at + 1}`,
    name: kind.name,
    group: 'Compression of different data',
    kind,
    deflate: demand([offer({})], [plain]),
  })),
  ...parameters.map(([name, words, deflate], at) => ({
    number: `13.${at + 1}`,
    name,
    group: `Compression with parameters: ${words}`,
    kind: json!,
    deflate,
  })),
].flatMap(casesOf);
