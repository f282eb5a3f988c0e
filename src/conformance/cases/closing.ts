/** Group 7: the closing handshake (RFC 6455 §5.5.1, §7). */
import { Buffer } from 'node:buffer';
import { CloseCode } from '../../protocol/codes.ts';
import {
  answered,
  type CasePlan,
  type CaseRow,
  type CloseExpectation,
  type ConformanceCase,
  closeWith,
  echoOfText,
  hex,
  inGroup,
  nonStrict,
  ok,
  type Step,
  second,
  sendContinuation,
  sendPing,
  sendText,
} from '../case.ts';
import { greek } from './text.ts';

const { NormalClosure, ProtocolError, InvalidPayload } = CloseCode;
const hello = 'Hello World!';
const notUtf8Reason = Buffer.concat([greek, hex('eda080'), Buffer.from('edited')]);

/** The steps send a close frame; the peer replies with one of the codes. */
export function closedInSteps(
  steps: readonly Step[],
  codes: readonly number[] = [NormalClosure],
  details: Partial<CloseExpectation> = {},
): CasePlan {
  const close: CloseExpectation = {
    ...{ by: 'tester', codes, isClean: true, isInSteps: true, isWrongCodeFatal: true },
    ...details,
  };
  return { steps, outcomes: [ok()], close, deadline: { after: second, end: 'fail' } };
}

/** The close frame is invalid: the peer replies with one of the codes, or drops TCP. */
export const refusedInSteps = (steps: readonly Step[], codes: readonly number[] = [ProtocolError]) =>
  closedInSteps(steps, codes, { isClean: false });

/** Texts, and a close frame without waiting for their echoes. A peer that closes before it echoes is NON-STRICT. */
export function textsThenClose(texts: readonly (string | Buffer)[], ...after: readonly Step[]): CasePlan {
  const steps = [...texts.map(text => sendText(text)), closeWith(NormalClosure), ...after];
  const plan = closedInSteps(steps, [NormalClosure], { deliversWhileClosing: true });
  return { ...plan, outcomes: [ok(...texts.map(echoOfText)), nonStrict()] };
}

export const validCodes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
export const invalidCodes = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];

export const clean = 'The peer replies with a close frame and nothing else.';
export const refused = 'The peer replies with 1002, or drops TCP.';

export const invalidCode = (code: number): CaseRow => ({
  name: `code-${code}`,
  description: `Sends a close frame with the invalid code ${code}.`,
  expectation: refused,
  plan: () => refusedInSteps([closeWith(code)]),
});

export const closing: readonly ConformanceCase[] = inGroup('Closing', 'closing', [
  {
    name: 'after-echo',
    number: '7.1.1',
    description: 'Sends a text, and closes after its echo.',
    expectation: 'The peer echoes the text, and replies with 1000.',
    plan() {
      const plan = answered([sendText(hello)], [echoOfText(hello)], { after: second, end: 'fail' });
      return { ...plan, close: { ...plan.close, isWrongCodeFatal: true } };
    },
  },
  {
    name: 'twice',
    number: '7.1.2',
    description: 'Sends two close frames.',
    expectation: clean,
    plan: () => closedInSteps([closeWith(NormalClosure), closeWith()]),
  },
  {
    name: 'then-ping',
    number: '7.1.3',
    description: 'Sends a close frame, then a ping.',
    expectation: clean,
    plan: () => closedInSteps([closeWith(NormalClosure), sendPing()]),
  },
  {
    name: 'then-text',
    number: '7.1.4',
    description: 'Sends a close frame, then a text.',
    expectation: clean,
    plan: () => closedInSteps([closeWith(NormalClosure), sendText(hello)]),
  },
  {
    name: 'between-fragments',
    number: '7.1.5',
    description: 'Sends a fragment of a text, a close frame, and the last fragment.',
    expectation: clean,
    plan: () =>
      closedInSteps([
        sendText('fragment1', { fin: false }),
        closeWith(NormalClosure),
        sendContinuation('fragment2'),
      ]),
  },
  {
    name: 'behind-long-text',
    number: '7.1.6',
    description: 'Sends a text of 256 KiB, a short text, a close frame and a ping, without waiting.',
    expectation: 'RFC 6455 does not say whether the peer must echo the texts before it replies.',
    isInformational: true,
    plan: () => textsThenClose([Buffer.alloc(256 * 1024, 'BAsd7&jh23'), hello], sendPing()),
  },
  {
    name: 'empty',
    number: '7.3.1',
    description: 'Sends a close frame without a code.',
    expectation: clean,
    plan: () => closedInSteps([closeWith()]),
  },
  {
    name: 'one-byte',
    number: '7.3.2',
    description: 'Sends a close frame with one byte, half a code.',
    expectation: refused,
    plan: () => refusedInSteps([closeWith(undefined, 'a')]),
  },
  {
    name: 'code',
    number: '7.3.3',
    description: 'Sends a close frame with a code and no reason.',
    expectation: clean,
    plan: () => closedInSteps([closeWith(NormalClosure)]),
  },
  {
    name: 'reason',
    number: '7.3.4',
    description: 'Sends a close frame with a code and a reason.',
    expectation: clean,
    plan: () => closedInSteps([closeWith(NormalClosure, 'Hello World!')]),
  },
  {
    name: 'longest-reason',
    number: '7.3.5',
    description: 'Sends a close frame with a reason of 123 bytes, the longest that fits.',
    expectation: clean,
    plan: () => closedInSteps([closeWith(NormalClosure, '*'.repeat(123))]),
  },
  {
    name: 'reason-too-long',
    number: '7.3.6',
    description: 'Sends a close frame with a reason of 124 bytes.',
    expectation: refused,
    plan: () => refusedInSteps([closeWith(NormalClosure, '*'.repeat(124))]),
  },
  {
    name: 'reason-not-utf8',
    number: '7.5.1',
    description: 'Sends a close frame whose reason is not UTF-8.',
    expectation: 'The peer replies with 1007 or 1002, or drops TCP.',
    plan: () => refusedInSteps([closeWith(NormalClosure, notUtf8Reason)], [ProtocolError, InvalidPayload]),
  },
  ...validCodes.map((code, index) => ({
    name: `code-${code}`,
    number: `7.7.${index + 1}`,
    description: `Sends a close frame with code ${code}.`,
    expectation: `The peer replies with ${code} or 1000.`,
    plan: () => closedInSteps([closeWith(code)], [NormalClosure, code]),
  })),
  ...invalidCodes.map((code, index) => ({
    ...invalidCode(code),
    number: `7.9.${index + 1}`,
  })),
  ...[5000, 65_535].map((code, index) => ({
    name: `code-${code}`,
    number: `7.13.${index + 1}`,
    description: `Sends a close frame with code ${code}, above the defined range.`,
    expectation: 'RFC 6455 does not define the reply.',
    isInformational: true,
    plan: () => refusedInSteps([closeWith(code)], [NormalClosure, code, ProtocolError]),
  })),
]);
