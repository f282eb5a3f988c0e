/** Pollywog's own cases of the closing handshake (RFC 6455 §5.5.1, §7). */
import { CloseCode } from '../../protocol/codes.ts';
import { type ConformanceCase, closeWith, hex, inGroup, sendFrame, sendText } from '../case.ts';
import {
  clean,
  closedInSteps,
  invalidCode,
  invalidCodes,
  refused,
  refusedInSteps,
  textsThenClose,
} from './closing.ts';

const { NormalClosure, ProtocolError, InvalidPayload } = CloseCode;

export const strictClosing: readonly ConformanceCase[] = inGroup('Closing, strictly', 'closing', [
  {
    name: 'twice-differently',
    description: 'Sends a close frame with 1001, then one with 1000.',
    expectation: 'The peer replies only to the first one, with 1001 or 1000.',
    plan: () => closedInSteps([closeWith(1001), closeWith(NormalClosure)], [1001, NormalClosure]),
  },
  {
    name: 'then-text-unheard',
    description: 'Sends a close frame, then a text.',
    expectation: 'The peer discards the text: it follows a close frame (RFC 6455 §1.4).',
    plan: () =>
      closedInSteps([closeWith(NormalClosure), sendText('late')], [NormalClosure], {
        deliversWhileClosing: true,
      }),
  },
  {
    name: 'then-violations',
    description: 'Sends a close frame, then a frame with a reserved opcode and a text that is not UTF-8.',
    expectation: clean,
    plan: () => closedInSteps([closeWith(NormalClosure), sendFrame(3), sendText(hex('ff'))]),
  },
  {
    name: 'behind-text',
    description: 'Sends a text and a close frame, without waiting for the echo.',
    expectation: 'The peer echoes the text, then replies. Closing without the echo is NON-STRICT.',
    plan: () => textsThenClose(['Hello']),
  },
  {
    name: 'reason-cut',
    description: 'Sends a close frame whose reason ends inside a character.',
    expectation: 'The peer replies with 1007 or 1002, or drops TCP.',
    plan: () => refusedInSteps([closeWith(NormalClosure, hex('cebae1'))], [InvalidPayload, ProtocolError]),
  },
  {
    name: 'reason-of-three-bytes-a-letter',
    description: 'Sends a close frame with a reason of 41 characters, three bytes each.',
    expectation: clean,
    plan: () => closedInSteps([closeWith(NormalClosure, '€'.repeat(41))]),
  },
  // IANA registered these after RFC 6455.
  ...[1012, 1013, 1014].map(code => ({
    name: `code-${code}`,
    description: `Sends a close frame with code ${code}, registered after RFC 6455.`,
    expectation: `The peer replies with ${code} or 1000. Refusing the code is NON-STRICT.`,
    plan: () =>
      closedInSteps([closeWith(code)], [NormalClosure, code], { isClean: false, isWrongCodeFatal: false }),
  })),
  ...[1, 1015].map(invalidCode),
  ...invalidCodes.map(code => ({
    name: `code-${code}-with-reason`,
    description: `Sends a close frame with the invalid code ${code} and a reason.`,
    expectation: refused,
    plan: () => refusedInSteps([closeWith(code, 'a reason')]),
  })),
]);
