/** Group 1: messages in one frame, with lengths around the limits of each header size (RFC 6455 §5.2). */
import { Buffer } from 'node:buffer';
import { answered, type ConformanceCase, echoOfBinary, echoOfText, sendBinary, sendText } from '../case.ts';

/** The lengths of group 1, and the size of the chops for the last one. */
const lengths: readonly (readonly [length: number, chop?: number])[] = [
  [0],
  [125],
  [126],
  [127],
  [128],
  [65_535],
  [65_536],
  [65_536, 997],
];

const deadline = { after: 10_000, end: 'fail' } as const;

function framingCases(kind: 'text' | 'binary'): ConformanceCase[] {
  const isText = kind === 'text';
  return lengths.map(([length, chop], index): ConformanceCase => {
    const inChops = chop === undefined ? '' : `, in writes of ${chop} bytes`;
    return {
      name: `framing/${kind}-${length}${chop === undefined ? '' : '-chopped'}`,
      number: `1.${isText ? 1 : 2}.${index + 1}`,
      group: 'Framing',
      description: `Sends a ${kind} message of ${length} bytes${inChops}.`,
      expectation: 'The peer echoes the message.',
      plan() {
        const payload = Buffer.alloc(length, isText ? '*' : 0xfe);
        return answered(
          [isText ? sendText(payload, { chop }) : sendBinary(payload, { chop })],
          [isText ? echoOfText(payload) : echoOfBinary(payload)],
          deadline,
        );
      },
    };
  });
}

export const framing: readonly ConformanceCase[] = [...framingCases('text'), ...framingCases('binary')];
