/** Groups 3 and 4: reserved bits and reserved opcodes (RFC 6455 §5.2). */
import { Buffer } from 'node:buffer';
import { Opcode } from '../../protocol/codes.ts';
import {
  type CasePlan,
  type CaseRow,
  type ConformanceCase,
  echoOfText,
  type FrameStep,
  failed,
  inGroup,
  sendBinary,
  sendFrame,
  sendPing,
  sendText,
} from '../case.ts';

const hello = 'Hello, world!';
const notText = Buffer.from('00fffefdfcfb00ff', 'hex');
const noExtension = 'The peer fails the connection with 1002: no extension defines these bits.';
const afterEcho = `The peer echoes the text. ${noExtension} It does not answer the ping.`;

/** A message, the fault, and a ping that the peer must not answer. */
function afterMessage(fault: (chop: number | undefined) => FrameStep, chop?: number): CasePlan {
  const steps = [sendText(hello, { chop }), fault(chop), sendPing('', { chop })];
  return failed(steps, 1002, [echoOfText(hello)]);
}

const reservedBits = inGroup('Reserved bits', 'reserved-bits', [
  {
    name: 'text-rsv3',
    number: '3.1',
    description: 'Sends a text with RSV3 set.',
    expectation: noExtension,
    plan: () => failed([sendText(hello, { rsv: 1 })]),
  },
  {
    name: 'text-rsv2',
    number: '3.2',
    description: 'Sends a text, the same text with RSV2 set, and a ping.',
    expectation: afterEcho,
    plan: () => afterMessage(chop => sendText(hello, { rsv: 2, chop })),
  },
  {
    name: 'text-rsv2-rsv3',
    number: '3.3',
    description: 'Sends a text, the same text with RSV2 and RSV3 set, and a ping, each in a separate write.',
    expectation: afterEcho,
    plan: () => afterMessage(chop => sendText(hello, { rsv: 3, chop }), hello.length + 14),
  },
  {
    name: 'text-rsv1',
    number: '3.4',
    description: 'Sends a text, the same text with RSV1 set, and a ping, one byte per write.',
    expectation: afterEcho,
    plan: () => afterMessage(chop => sendText(hello, { rsv: 4, chop }), 1),
  },
  {
    name: 'binary-rsv1-rsv3',
    number: '3.5',
    description: 'Sends a binary message with RSV1 and RSV3 set.',
    expectation: noExtension,
    plan: () => failed([sendBinary(notText, { rsv: 5 })]),
  },
  {
    name: 'ping-rsv1-rsv2',
    number: '3.6',
    description: 'Sends a ping with RSV1 and RSV2 set.',
    expectation: noExtension,
    plan: () => failed([sendPing(hello, { rsv: 6 })]),
  },
  {
    name: 'close-rsv',
    number: '3.7',
    description: 'Sends a close frame with RSV1, RSV2 and RSV3 set.',
    expectation: noExtension,
    plan: () => failed([sendFrame(Opcode.Close, '', { rsv: 7 })]),
  },
]);

/** The five cases of 4.1 or 4.2, which differ only in their opcodes. */
function opcodeCases(section: string, first: number): CaseRow[] {
  const fails = 'The peer fails the connection with 1002: the opcode is reserved.';
  const later = `The peer echoes the text. ${fails} It does not answer the ping.`;
  return [0, 1, 2, 3, 4].map(index => {
    const opcode = first + index;
    const payload = index % 2 === 1 || index === 4 ? hello : '';
    const chop = index === 4 ? 1 : undefined;
    const what = `a frame with opcode ${opcode} ${payload === '' ? 'without' : 'with'} payload`;
    const isAlone = index < 2;
    return {
      name: String(opcode),
      number: `${section}.${index + 1}`,
      description: isAlone
        ? `Sends ${what}.`
        : `Sends a text, ${what}, and a ping${chop === undefined ? '' : ', one byte per write'}.`,
      expectation: isAlone ? fails : later,
      plan: () =>
        isAlone
          ? failed([sendFrame(opcode, payload)])
          : afterMessage(bytes => sendFrame(opcode, payload, { chop: bytes }), chop),
    };
  });
}

const opcodes = inGroup('Opcodes', 'opcodes', [...opcodeCases('4.1', 3), ...opcodeCases('4.2', 11)]);

export const reserved: readonly ConformanceCase[] = [...reservedBits, ...opcodes];
