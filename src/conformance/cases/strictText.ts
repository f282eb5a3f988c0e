/** Pollywog's own cases of UTF-8: each sequence of group 6 in fragments or writes of one byte, and up to its first wrong byte. */
import { Buffer } from 'node:buffer';
import { Opcode } from '../../protocol/codes.ts';
import {
  answered,
  type CaseRow,
  type ConformanceCase,
  echoOfText,
  hex,
  inGroup,
  nonStrict,
  ok,
  second,
  sendText,
  timeout,
  wait,
} from '../case.ts';
import { byteFragments, greek, notUtf8, sections } from './text.ts';

/** If bytes are the beginning of valid UTF-8, one of these endings completes their last character. */
const ends = ['', '80', '8080', '808080', 'a0', 'a080', 'a08080'].map(hex);

function canBecomeText(bytes: Buffer): boolean {
  return ends.some(end => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat([bytes, end]));
      return true;
    } catch {
      return false;
    }
  });
}

/** The sequence up to and including its first wrong byte; undefined if it is only incomplete. */
function upToWrongByte(bytes: Buffer): Buffer | undefined {
  const at = bytes.findIndex((_, index) => !canBecomeText(bytes.subarray(0, index + 1)));
  return at === -1 ? undefined : bytes.subarray(0, at + 1);
}

/** The length in the header: the frame ends long after the wrong byte. */
const announced = 1000;

function rowsOf(name: string, sequence: string): CaseRow[] {
  const isValid = !sequence.startsWith('!');
  const digits = sequence.replace('!', '');
  const payload = Buffer.concat([greek, hex(digits)]);
  const what = `a Greek text and ${digits.slice(0, 48)}`;
  if (isValid) {
    return [
      {
        name: `${name}-by-byte`,
        description: `Sends ${what}, in fragments of one byte.`,
        expectation: 'The peer echoes the text.',
        plan: () => answered(byteFragments(payload), [echoOfText(payload)]),
      },
      {
        name: `${name}-chopped`,
        description: `Sends ${what}, one byte per write.`,
        expectation: 'The peer echoes the text.',
        plan: () => answered([sendText(payload, { chop: 1 })], [echoOfText(payload)]),
      },
    ];
  }
  const rows: CaseRow[] = [
    {
      name: `${name}-by-byte`,
      description: `Sends ${what}, in fragments of one byte.`,
      expectation: 'The peer fails the connection with 1007.',
      plan: () => notUtf8(byteFragments(payload)),
    },
  ];
  const wrong = upToWrongByte(payload);
  if (wrong === undefined) return rows;
  const rest = Buffer.alloc(announced - wrong.length, 'a');
  rows.push({
    name: `${name}-fail-fast`,
    description: `Sends ${what} up to the first wrong byte, waits a second, and sends the rest of the frame.`,
    expectation:
      'The peer fails the connection with 1007 at the wrong byte. Failing at the end of the text is NON-STRICT.',
    plan: () => ({
      ...notUtf8([
        { do: 'head', opcode: Opcode.Text, fin: true, length: announced },
        { do: 'data', payload: wrong },
        wait(second, 'A'),
        { do: 'data', payload: rest },
      ]),
      outcomes: [ok(), nonStrict(timeout('A'))],
    }),
  });
  return rows;
}

export const strictText: readonly ConformanceCase[] = inGroup(
  'UTF-8, strictly',
  'utf8',
  sections.flatMap(([name, , sequences]) =>
    sequences.flatMap((sequence, index) => rowsOf(`${name}-${index + 1}`, sequence)),
  ),
);
