/** Group 6: UTF-8 in texts (RFC 6455 §8.1), with the sequences of Markus Kuhn's decoder stress test. */
import { Buffer } from 'node:buffer';
import { CloseCode } from '../../protocol/codes.ts';
import {
  answered,
  type CasePlan,
  type CaseRow,
  type ConformanceCase,
  echoOfText,
  type FrameDetails,
  hex,
  inGroup,
  mustFail,
  nonStrict,
  ok,
  type Step,
  second,
  sendContinuation,
  sendText,
  timeout,
  wait,
} from '../case.ts';

/** "κόσμε": the second letter has three bytes (U+1F79) instead of two. */
export const greek = hex('cebae1bdb9cf83cebcceb5');
const umlauts = Buffer.from('Hello-µ@ßöäüàá-UTF-8!!');
/** The offset at which 6.2.2 splits the text: between two characters. */
const between = Buffer.byteLength('Hello-µ@ßöä');
const edited = Buffer.from('edited');
/** A surrogate: not a character. */
const withSurrogate = Buffer.concat([greek, hex('eda080'), edited]);
/** U+110000, one above the last code point: the second byte is the first wrong one. */
const aboveLast = hex('f4908080');
const withAboveLast = Buffer.concat([greek, aboveLast, edited]);

const refusal = 'The peer fails the connection with 1007: the text is not UTF-8.';

/** The peer must fail the connection with 1007. */
export function notUtf8(steps: readonly Step[]): CasePlan {
  return mustFail(steps, CloseCode.InvalidPayload);
}

/** A text in fragments of one byte. @param first details of the first frame */
export function byteFragments(payload: Buffer, first: FrameDetails = {}): Step[] {
  return Array.from(payload, (_, at) => {
    const fin = at === payload.length - 1;
    const byte = payload.subarray(at, at + 1);
    return at === 0 ? sendText(byte, { ...first, fin }) : sendContinuation(byte, { fin });
  });
}

/**
 * Sends the text in three parts with waits between them. The second part makes it invalid: a strict peer fails the connection
 * then, others when the text is complete.
 */
function failFast(steps: (waits: readonly [Step, Step]) => readonly Step[]): CasePlan {
  return {
    ...notUtf8(steps([wait(second, 'A'), wait(second, 'B')])),
    outcomes: [ok(timeout('A')), nonStrict(timeout('A'), timeout('B'))],
  };
}

const failFastExpectation =
  'The peer accepts the first part, and fails the connection with 1007 after the second, without waiting for the third.';

/** @param ends the offsets at which the first and the second part end */
function inFrames(...ends: readonly [number, number]): CasePlan {
  const [a, b] = ends;
  return failFast(([first, next]) => [
    sendText(withAboveLast.subarray(0, a), { fin: false }),
    first,
    sendContinuation(withAboveLast.subarray(a, b), { fin: false }),
    next,
    sendContinuation(withAboveLast.subarray(b)),
  ]);
}

function inOneFrame(...ends: readonly [number, number]): CasePlan {
  const [a, b] = ends;
  return failFast(([first, next]) => [
    { do: 'head', opcode: 1, fin: true, length: withAboveLast.length },
    { do: 'data', payload: withAboveLast.subarray(0, a) },
    first,
    { do: 'data', payload: withAboveLast.subarray(a, b) },
    next,
    { do: 'data', payload: withAboveLast.subarray(b) },
  ]);
}

const failFastRows: CaseRow[] = [
  {
    name: 'fail-fast-frames',
    number: '6.4.1',
    description:
      'Sends a text in three frames with waits between them; the second is a code point above U+10FFFF.',
    expectation: failFastExpectation,
    plan: () => inFrames(greek.length, greek.length + aboveLast.length),
  },
  {
    name: 'fail-fast-frames-at-byte',
    number: '6.4.2',
    description: 'Sends a text in three frames with waits between them; the second is the first wrong byte.',
    expectation: failFastExpectation,
    plan: () => inFrames(greek.length + 1, greek.length + 2),
  },
  {
    name: 'fail-fast-chops',
    number: '6.4.3',
    description:
      'Sends a text in one frame, in three writes with waits between them; the second is a code point above U+10FFFF.',
    expectation: failFastExpectation,
    plan: () => inOneFrame(greek.length, greek.length + aboveLast.length),
  },
  {
    name: 'fail-fast-chops-at-byte',
    number: '6.4.4',
    description:
      'Sends a text in one frame, in three writes with waits between them; the second is the first wrong byte.',
    expectation: failFastExpectation,
    plan: () => inOneFrame(greek.length + 1, greek.length + 2),
  },
];

const longerRows: CaseRow[] = [
  {
    name: 'empty',
    number: '6.1.1',
    description: 'Sends an empty text.',
    expectation: 'The peer echoes the text.',
    plan: () => answered([sendText('')], [echoOfText('')]),
  },
  {
    name: 'empty-fragments',
    number: '6.1.2',
    description: 'Sends a text in three empty fragments.',
    expectation: 'The peer echoes an empty text.',
    plan: () =>
      answered(
        [sendText('', { fin: false }), sendContinuation('', { fin: false }), sendContinuation('')],
        [echoOfText('')],
      ),
  },
  {
    name: 'empty-first-and-last-fragment',
    number: '6.1.3',
    description: 'Sends a text in three fragments; the first and the last are empty.',
    expectation: 'The peer echoes the text.',
    plan: () =>
      answered(
        [
          sendText('', { fin: false }),
          sendContinuation('middle frame payload', { fin: false }),
          sendContinuation(''),
        ],
        [echoOfText('middle frame payload')],
      ),
  },
  {
    name: 'umlauts',
    number: '6.2.1',
    description: 'Sends a text with characters of one and two bytes.',
    expectation: 'The peer echoes the text.',
    plan: () => answered([sendText(umlauts)], [echoOfText(umlauts)]),
  },
  {
    name: 'umlauts-in-two',
    number: '6.2.2',
    description: 'Sends a text in two fragments, split between two characters.',
    expectation: 'The peer echoes the text.',
    plan: () =>
      answered(
        [sendText(umlauts.subarray(0, between), { fin: false }), sendContinuation(umlauts.subarray(between))],
        [echoOfText(umlauts)],
      ),
  },
  {
    name: 'umlauts-by-byte',
    number: '6.2.3',
    description: 'Sends a text in fragments of one byte, so some end inside a character.',
    expectation: 'The peer echoes the text.',
    plan: () => answered(byteFragments(umlauts), [echoOfText(umlauts)]),
  },
  {
    name: 'greek-by-byte',
    number: '6.2.4',
    description: 'Sends a Greek text in fragments of one byte, so some end inside a character.',
    expectation: 'The peer echoes the text.',
    plan: () => answered(byteFragments(greek), [echoOfText(greek)]),
  },
  {
    name: 'surrogate',
    number: '6.3.1',
    description: 'Sends a text that contains a surrogate.',
    expectation: refusal,
    plan: () => notUtf8([sendText(withSurrogate)]),
  },
  {
    name: 'surrogate-by-byte',
    number: '6.3.2',
    description: 'Sends a text that contains a surrogate, in fragments of one byte.',
    expectation: refusal,
    plan: () => notUtf8(byteFragments(withSurrogate)),
  },
  ...failFastRows,
];

/** A sequence in hexadecimal, after a `!` if it is not UTF-8. */
type Sequence = string;

const helloWith = (digits: string) =>
  `${Buffer.from('hello').toString('hex')}${digits}${Buffer.from('world').toString('hex')}`;

/** All beginnings of the Greek text; those that end inside a character are not UTF-8. */
function beginningsOfGreek(): Sequence[] {
  return Array.from(greek, (_, at) => {
    const isWhole = at + 1 === greek.length || (greek[at + 1]! & 0xc0) !== 0x80;
    return `${isWhole ? '' : '!'}${greek.toString('hex', 0, at + 1)}`;
  });
}

/** The bytes from `first` to `end - 1`, each followed by `after`. */
function range(first: number, end: number, after = ''): Sequence {
  let digits = '!';
  for (let byte = first; byte < end; byte++) digits += byte.toString(16) + after;
  return digits;
}

/** U+nFFFE and U+nFFFF of every plane: noncharacters, but valid UTF-8. */
function noncharacters(): Sequence[] {
  return Array.from({ length: 17 }, (_, plane) => [plane * 0x10000 + 0xfffe, plane * 0x10000 + 0xffff])
    .flat()
    .map(point => Buffer.from(String.fromCodePoint(point)).toString('hex'));
}

const cut = [
  'c0',
  'e080',
  'f08080',
  'f8808080',
  'fc80808080',
  'df',
  'efbf',
  'f7bfbf',
  'fbbfbfbf',
  'fdbfbfbfbf',
];
const pairs = ['eda080', 'edadbf', 'edae80', 'edafbf'].flatMap(high =>
  ['edb080', 'edbfbf'].map(low => `!${high}${low}`),
);

/** Sections 6.5 to 6.23. */
export const sections: readonly (readonly [name: string, what: string, sequences: readonly Sequence[]])[] = [
  [
    'valid',
    'valid characters of one to four bytes',
    [...['24', 'c2a2', 'e282ac', 'f0a4ada2'].map(helloWith), greek.toString('hex')],
  ],
  ['beginning', 'the beginning of a Greek text', beginningsOfGreek()],
  ['first-of-length', 'the first character of its length', ['00', 'c280', 'e0a080', 'f0908080']],
  ['five-or-six-bytes', 'a sequence of five or six bytes', ['!f888808080', '!fc8480808080']],
  ['last-of-length', 'the last character of its length', ['7f', 'dfbf', 'efbfbf', 'f48fbfbf']],
  [
    'above-last',
    'the last sequence of its length, above U+10FFFF',
    ['!f7bfbfbf', '!fbbfbfbfbf', '!fdbfbfbfbfbf'],
  ],
  ['border', 'a code point next to a boundary', ['ed9fbf', 'ee8080', 'efbfbd', 'f48fbfbf', '!f4908080']],
  [
    'lone-continuation-bytes',
    'continuation bytes without a first byte',
    ['!80', '!bf', '!80bf', '!80bf80', '!80bf80bf', '!80bf80bf80', '!80bf80bf80bf', range(0x80, 0xbf)],
  ],
  [
    'lone-first-bytes',
    'first bytes, each before a space',
    [
      [0xc0, 0xdf],
      [0xe0, 0xef],
      [0xf0, 0xf7],
      [0xf8, 0xfb],
      [0xfc, 0xfd],
    ].map(([first, end]) => range(first!, end!, '20')),
  ],
  ['cut', 'a sequence whose last byte is missing', cut.map(digits => `!${digits}`)],
  ['many-cut', 'many sequences whose last byte is missing', [`!${cut.join('')}`]],
  ['impossible', 'bytes that never occur in UTF-8', ['!fe', '!ff', '!fefeffff']],
  ['overlong-slash', 'an overlong slash', ['!c0af', '!e080af', '!f08080af', '!f8808080af', '!fc80808080af']],
  [
    'overlong-last',
    'the last overlong sequence',
    ['!c1bf', '!e09fbf', '!f08fbfbf', '!f887bfbfbf', '!fc83bfbfbfbf'],
  ],
  ['overlong-nul', 'an overlong NUL', ['!c080', '!e08080', '!f0808080', '!f880808080', '!fc8080808080']],
  [
    'surrogates',
    'a surrogate',
    ['!eda080', '!edadbf', '!edae80', '!edafbf', '!edb080', '!edbe80', '!edbfbf'],
  ],
  ['surrogate-pairs', 'a pair of surrogates', pairs],
  ['noncharacters', 'a noncharacter', noncharacters()],
  [
    'specials',
    'a character next to U+FFFD',
    ['efbfb9', 'efbfba', 'efbfbb', 'efbfbc', 'efbfbd', 'efbfbe', 'efbfbf'],
  ],
];

function sequenceRows(): CaseRow[] {
  return sections.flatMap(([name, what, sequences], section) =>
    sequences.map((sequence, index): CaseRow => {
      const isValid = !sequence.startsWith('!');
      const payload = hex(sequence.replace('!', ''));
      const shown = payload.length > 24 ? `${payload.length} bytes` : payload.toString('hex');
      return {
        name: `${name}-${index + 1}`,
        number: `6.${section + 5}.${index + 1}`,
        description: `Sends a text with ${what}: ${shown}.`,
        expectation: isValid ? 'The peer echoes the text.' : refusal,
        plan: () =>
          isValid
            ? answered([sendText(payload)], [echoOfText(payload)], { after: 500, end: 'fail' })
            : { ...notUtf8([sendText(payload)]), deadline: { after: 500, end: 'fail' } },
      };
    }),
  );
}

export const text: readonly ConformanceCase[] = inGroup('UTF-8', 'utf8', [...longerRows, ...sequenceRows()]);
