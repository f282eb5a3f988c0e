import { frame, opcode } from '../support/rawFrame.ts';
import { answer, type Case, runCases } from './runCases.ts';

const sizes = [0, 125, 126, 127, 128, 65_535, 65_536];

/** Group 1: messages around the limits of the three encodings of a length. */
function messages(group: string, kind: 'text' | 'binary', byte: number): Case[] {
  const whole = sizes.map((size, index): Case => {
    const payload = Buffer.alloc(size, byte);
    return {
      id: `${group}.${index + 1}`,
      does: `echoes a ${kind} message of ${size} bytes`,
      sends: [frame(opcode[kind], payload)],
      answers: [answer(opcode[kind], payload)],
    };
  });
  const chopped = sizes.map((size, index): Case => {
    const payload = Buffer.alloc(size, byte);
    return {
      id: `${group}.8${'abcdefg'[index]}`,
      does: `echoes a ${kind} message of ${size} bytes that arrives in chops of 997`,
      sends: [frame(opcode[kind], payload)],
      chopped: 997,
      answers: [answer(opcode[kind], payload)],
    };
  });
  return [...whole, ...chopped];
}

/** What the suite leaves out: how a length and a mask may, and may not, be written. */
const headers: Case[] = [
  {
    id: '1.x.1',
    does: 'refuses a frame that is not masked',
    sends: [frame(opcode.text, 'hello', { key: null })],
    failsWith: 1002,
  },
  {
    id: '1.x.2',
    does: 'accepts a masking key of zeroes',
    sends: [frame(opcode.text, 'hello', { key: Buffer.alloc(4) })],
    answers: [answer(opcode.text, 'hello')],
  },
  {
    id: '1.x.3',
    does: 'refuses a length of 125 in two bytes',
    sends: [frame(opcode.text, 'x'.repeat(125), { lengthBytes: 2 })],
    failsWith: 1002,
  },
  {
    id: '1.x.4',
    does: 'refuses a length of 65535 in eight bytes',
    sends: [frame(opcode.binary, Buffer.alloc(65_535), { lengthBytes: 8 })],
    failsWith: 1002,
  },
  {
    id: '1.x.5',
    does: 'refuses a length of 2^63 on the header',
    sends: [frame(opcode.binary, '', { announcedLength: 2 ** 63, lengthBytes: 8 })],
    failsWith: 1002,
  },
  {
    id: '1.x.6',
    does: 'refuses a length of 16 MiB and one byte on the header',
    sends: [frame(opcode.binary, '', { announcedLength: 2 ** 24 + 1 })],
    failsWith: 1009,
  },
  {
    id: '1.x.7',
    does: 'echoes 3,000 messages that arrive at once, in order',
    sends: Array.from({ length: 3000 }, (_, i) => frame(opcode.text, `message ${i}`)),
    answers: Array.from({ length: 3000 }, (_, i) => answer(opcode.text, `message ${i}`)),
  },
];

runCases('1 framing', [...messages('1.1', 'text', 0x2a), ...messages('1.2', 'binary', 0xfe), ...headers]);
