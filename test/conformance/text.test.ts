/** Group 6: UTF-8, with the sequences of Markus Kuhn's decoder stress test. */
import { frame, opcode } from '../support/rawFrame.ts';
import { answer, type Case, runCases } from './runCases.ts';

const { continuation, text } = opcode;

/** Greek, in two bytes a letter: what stands before the sequences of this group. */
const kosme = Buffer.from('κόσμε');

const hex = (digits: string) => Buffer.from(digits.replaceAll(' ', ''), 'hex');

/** Whole, a fragment an octet, and chopped by octets. */
function everyWay(id: string, what: string, payload: Buffer, isValid: boolean): Case[] {
  const verdict = isValid ? { answers: [answer(text, payload)] } : { failsWith: 1007 };
  const does = isValid ? 'echoes' : 'refuses';
  return [
    { id, does: `${does} ${what}`, sends: [frame(text, payload)], ...verdict },
    {
      id: `${id}f`,
      does: `${does} ${what}, in fragments of one byte`,
      sends: octetFragments(payload),
      ...verdict,
    },
    {
      id: `${id}c`,
      does: `${does} ${what}, in chops of one byte`,
      sends: [frame(text, payload)],
      chopped: 1,
      ...verdict,
    },
  ];
}

function octetFragments(payload: Buffer): Buffer[] {
  return Array.from({ length: Math.max(1, payload.length) }, (_, at) =>
    frame(at === 0 ? text : continuation, payload.subarray(at, at + 1), { fin: at >= payload.length - 1 }),
  );
}

/** What could still become valid text: some end of a character makes it one. */
function canBecomeText(bytes: Buffer): boolean {
  return ['', '80', '8080', '808080', 'a0', 'a080', 'a08080'].some(end => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat([bytes, hex(end)]));
      return true;
    } catch {
      return false;
    }
  });
}

/** The sequence up to its first wrong octet, that one included; undefined where it is wrong by its end alone. */
function upToWrongOctet(bytes: Buffer): Buffer | undefined {
  for (let end = 1; end <= bytes.length; end++) {
    const beginning = bytes.subarray(0, end);
    if (!canBecomeText(beginning)) return beginning;
  }
  return undefined;
}

/** The message is never finished: the server must not wait for it. */
function failFast(id: string, what: string, payload: Buffer): Case[] {
  const wrong = upToWrongOctet(payload);
  if (wrong === undefined) return [];
  const header = frame(continuation, '', { fin: false, announcedLength: 1000, key: hex('00000000') });
  const before = frame(text, kosme, { fin: false });
  return [
    {
      id: `${id}x`,
      does: `refuses ${what} at the first wrong byte, inside a frame`,
      sends: [before, header, wrong],
      failsWith: 1007,
    },
    {
      id: `${id}y`,
      does: `refuses ${what} at the first wrong byte, before the next fragment`,
      sends: [before, frame(continuation, wrong, { fin: false })],
      failsWith: 1007,
    },
    {
      id: `${id}z`,
      does: `refuses ${what} at the first wrong byte, in chops of any size`,
      sends: [before, header, wrong],
      chopped: 1,
      failsWith: 1007,
    },
  ];
}

const valid: readonly (readonly [group: string, what: string, sequences: readonly string[]])[] = [
  ['6.5', 'letters of two bytes', ['ceba', 'cebae1bdb9', 'cebae1bdb9cf83', 'cebae1bdb9cf83cebcceb5']],
  ['6.7', 'the first character of a length', ['00', 'c280', 'e0a080', 'f0908080']],
  ['6.9', 'the last character of a length', ['7f', 'dfbf', 'efbfbf', 'f48fbfbf']],
  ['6.11', 'a character at a border', ['ed9fbf', 'ee8080', 'efbfbd', 'f48fbfbf']],
  ['6.22', 'a noncharacter', noncharacters()],
  [
    '6.23',
    'a character next to U+FFFD',
    ['efbfb9', 'efbfba', 'efbfbb', 'efbfbc', 'efbfbd', 'efbfbe', 'efbfbf'],
  ],
];

/** U+nFFFE and U+nFFFF of every plane. */
function noncharacters(): string[] {
  return Array.from({ length: 17 }, (_, plane) => [plane * 0x10000 + 0xfffe, plane * 0x10000 + 0xffff])
    .flat()
    .map(point => Buffer.from(String.fromCodePoint(point)).toString('hex'));
}

const invalid: readonly (readonly [group: string, what: string, sequences: readonly string[]])[] = [
  ['6.6', 'text that ends inside a letter', ['ce', 'cebae1', 'cebae1bd', 'cebae1bdb9cf', 'cebae1bdb9cf83ce']],
  ['6.8', 'a sequence of five or six bytes', ['f888808080', 'fc8480808080']],
  ['6.10', 'the last sequence of a length that is not used', ['f7bfbfbf', 'fbbfbfbfbf', 'fdbfbfbfbfbf']],
  ['6.11n', 'a character above U+10FFFF', ['f4908080', 'f5808080']],
  [
    '6.12',
    'continuation bytes without a first byte',
    ['80', 'bf', '80bf', '80bf80', '80bf80bf', '80bf80bf80', '80bf80bf80bf', allBytes(0x80, 0xbf)],
  ],
  [
    '6.13',
    'first bytes, each before a space,',
    [
      spaced(0xc0, 0xdf),
      spaced(0xc2, 0xdf),
      spaced(0xe0, 0xef),
      spaced(0xf0, 0xf7),
      spaced(0xf8, 0xfb),
      'fc20fd20',
    ],
  ],
  [
    '6.14',
    'a sequence whose last byte is missing',
    [
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
      'c3',
      'e282',
    ],
  ],
  ['6.15', 'many such sequences', ['c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf']],
  ['6.16', 'bytes that no UTF-8 has', ['fe', 'ff', 'fefeffff']],
  ['6.17', 'an overlong slash', ['c0af', 'e080af', 'f08080af', 'f8808080af', 'fc80808080af']],
  ['6.18', 'the greatest overlong sequence', ['c1bf', 'e09fbf', 'f08fbfbf', 'f887bfbfbf', 'fc83bfbfbfbf']],
  ['6.19', 'an overlong NUL', ['c080', 'e08080', 'f0808080', 'f880808080', 'fc8080808080']],
  ['6.20', 'a surrogate', ['eda080', 'edadbf', 'edae80', 'edafbf', 'edb080', 'edbe80', 'edbfbf']],
  [
    '6.21',
    'a pair of surrogates',
    [
      'eda080edb080',
      'eda080edbfbf',
      'edadbfedb080',
      'edadbfedbfbf',
      'edae80edb080',
      'edae80edbfbf',
      'edafbfedb080',
      'edafbfedbfbf',
    ],
  ],
];

function allBytes(first: number, last: number): string {
  return Buffer.from(Array.from({ length: last - first + 1 }, (_, i) => first + i)).toString('hex');
}

function spaced(first: number, last: number): string {
  return allBytes(first, last).replace(/../g, '$&20');
}

const helloUtf8 = Buffer.from('Hello-µ@ßöäüàá-UTF-8!!');
const brokenText = Buffer.concat([kosme, hex('eda080'), Buffer.from('edited')]);

const cases: Case[][] = [
  everyWay('6.1.1', 'an empty text', Buffer.alloc(0), true),
  [
    {
      id: '6.1.2',
      does: 'echoes a text of three empty fragments',
      sends: [
        frame(text, '', { fin: false }),
        frame(continuation, '', { fin: false }),
        frame(continuation, ''),
      ],
      answers: [answer(text)],
    },
    {
      id: '6.1.3',
      does: 'echoes a text of three fragments, one of them not empty',
      sends: [
        frame(text, '', { fin: false }),
        frame(continuation, 'middle frame payload', { fin: false }),
        frame(continuation, ''),
      ],
      answers: [answer(text, 'middle frame payload')],
    },
    {
      id: '6.2.2',
      does: 'echoes a text whose fragments end between characters',
      sends: [
        frame(text, helloUtf8.subarray(0, 8), { fin: false }),
        frame(continuation, helloUtf8.subarray(8)),
      ],
      answers: [answer(text, helloUtf8)],
    },
    {
      id: '6.2.3',
      does: 'echoes a text whose fragments end inside characters, with pings in between',
      sends: octetFragments(kosme).flatMap(each => [each, frame(opcode.ping, 'between')]),
      answers: [
        ...Array.from({ length: kosme.length - 1 }, () => answer(opcode.pong, 'between')),
        answer(text, kosme),
        answer(opcode.pong, 'between'),
      ],
    },
  ],
  everyWay('6.2.1', 'a text with umlauts', helloUtf8, true),
  everyWay('6.2.4', 'a Greek text', kosme, true),
  everyWay('6.3.1', 'a text with a surrogate in it', brokenText, false),
  failFast('6.4.1', 'a text with a surrogate in it', brokenText),
  failFast('6.4.2', 'a character that the second octet puts above U+10FFFF', hex('f4908080')),
];

for (const [group, what, sequences] of valid) {
  sequences.forEach((sequence, index) => {
    const payload = Buffer.concat([kosme, hex(sequence)]);
    cases.push(everyWay(`${group}.${index + 1}`, `${what} (${sequence})`, payload, true));
  });
}
for (const [group, what, sequences] of invalid) {
  sequences.forEach((sequence, index) => {
    const named = `${what} (${sequence.slice(0, 24)})`;
    cases.push(everyWay(`${group}.${index + 1}`, named, hex(sequence), false));
    cases.push(failFast(`${group}.${index + 1}`, named, hex(sequence)));
  });
}

runCases('6 text', cases.flat());
