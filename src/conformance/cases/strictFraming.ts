/** Pollywog's own cases of framing: masking, lengths, fragments, and close frames that say why the peer failed (RFC 6455 §5). */
import { Buffer } from 'node:buffer';
import { CloseCode, Opcode } from '../../protocol/codes.ts';
import {
  answered,
  type CaseRow,
  type ConformanceCase,
  echoOfBinary,
  echoOfText,
  failed,
  failedByPeer,
  hex,
  inGroup,
  mustFail,
  ok,
  overlooked,
  pong,
  type Step,
  second,
  sendBinary,
  sendContinuation,
  sendFrame,
  sendPing,
  sendPong,
  sendText,
  timeout,
  wait,
} from '../case.ts';
import { byteFragments } from './text.ts';

const { ProtocolError, InvalidPayload, MessageTooBig } = CloseCode;
const hello = 'Hello, world!';
const letters = Buffer.alloc(300, 'abcdefghij');

const pause: Step = { do: 'wait', time: second / 10 };

const wrongMask = { form: { isMaskWrong: true } };
const masking = inGroup('Masking', 'masking', [
  {
    name: 'wrong-text',
    description: 'Sends a text with the wrong masking: a client without a mask, a server with one.',
    expectation: 'The peer fails the connection with 1002.',
    plan: () => mustFail([sendText(hello, wrongMask)]),
  },
  {
    name: 'wrong-ping',
    description: 'Sends a ping with the wrong masking: a client without a mask, a server with one.',
    expectation: 'The peer fails the connection with 1002, and sends no pong.',
    plan: () => mustFail([sendPing('', wrongMask)]),
  },
  {
    name: 'wrong-in-second-frame',
    description: 'Sends a text in two fragments; the second has the wrong masking.',
    expectation: 'The peer fails the connection with 1002.',
    plan: () => mustFail([sendText('fragment1', { fin: false }), sendContinuation('fragment2', wrongMask)]),
  },
]);

const fewestBytes =
  'The peer fails the connection with 1002: RFC 6455 §5.2 requires the shortest length field. Accepting this one is NON-STRICT.';

function notMinimal(name: string, payload: Buffer, lengthBytes: 2 | 8): CaseRow {
  return {
    name,
    description: `Sends a text of ${payload.length} bytes with a length field of ${lengthBytes} bytes, longer than necessary.`,
    expectation: fewestBytes,
    plan() {
      const plan = failed([sendText(payload, { form: { lengthBytes } })]);
      return { ...plan, outcomes: [ok(), overlooked(echoOfText(payload))] };
    },
  };
}

function tooLarge(name: string, announced: bigint, what: string): CaseRow {
  return {
    name,
    description: `Sends the header of a binary frame of ${what}, and none of its payload.`,
    expectation:
      'The peer fails the connection with 1009 after it has read the header. Waiting for the payload is NON-STRICT.',
    plan: () => ({
      steps: [sendBinary('', { form: { announced } }), wait(second, 'A')],
      outcomes: [ok(), overlooked(timeout('A'))],
      close: { ...failedByPeer(MessageTooBig), codes: [MessageTooBig, ProtocolError] },
      deadline: { after: second, end: 'fail' },
    }),
  };
}

const lengths = inGroup('Lengths', 'lengths', [
  notMinimal('5-in-2-bytes', letters.subarray(0, 5), 2),
  notMinimal('125-in-2-bytes', letters.subarray(0, 125), 2),
  notMinimal('5-in-8-bytes', letters.subarray(0, 5), 8),
  notMinimal('300-in-8-bytes', letters, 8),
  {
    name: 'top-bit',
    description: 'Sends the header of a binary frame with a length of 2^63: its most significant bit is 1.',
    expectation: 'The peer fails the connection with 1002.',
    plan: () => mustFail([sendBinary('', { form: { announced: 2n ** 63n } })]),
  },
  tooLarge('terabyte', 2n ** 40n, 'a terabyte'),
  tooLarge('largest', 2n ** 63n - 1n, '2^63 - 1 bytes'),
  {
    name: 'all-small',
    description: 'Sends a binary message of each length from 0 to 300 bytes.',
    expectation: 'The peer echoes all of them, in order.',
    plan() {
      const all = Array.from({ length: 301 }, (_, length) => letters.subarray(0, length));
      return answered(
        all.map(payload => sendBinary(payload)),
        all.map(payload => echoOfBinary(payload)),
        { after: 10 * second, end: 'close' },
      );
    },
  },
  {
    name: 'pauses',
    description:
      'Sends a binary message of 300 bytes with pauses of 0.1 s after the header and inside the payload.',
    expectation: 'The peer echoes the message.',
    plan: () =>
      answered(
        [
          { do: 'head', opcode: Opcode.Binary, fin: true, length: letters.length },
          pause,
          { do: 'data', payload: letters.subarray(0, 5) },
          pause,
          { do: 'data', payload: letters.subarray(5, 6) },
          pause,
          { do: 'data', payload: letters.subarray(6) },
        ],
        [echoOfBinary(letters)],
        { after: 10 * second, end: 'fail' },
      ),
  },
  ...[126, 65_536].map(
    (length): CaseRow => ({
      name: `${length}-by-byte`,
      description: `Sends a binary message of ${length} bytes; its header and its first six bytes arrive one byte per write.`,
      expectation: 'The peer echoes the message.',
      plan() {
        const payload = Buffer.alloc(length, 'abcdefghij');
        const firstBytes = Array.from(
          { length: 6 },
          (_, at): Step => ({ do: 'data', payload: payload.subarray(at, at + 1) }),
        );
        return answered(
          [
            { do: 'head', opcode: Opcode.Binary, fin: true, length, chop: 1 },
            ...firstBytes,
            { do: 'data', payload: payload.subarray(6) },
          ],
          [echoOfBinary(payload)],
          { after: 10 * second, end: 'fail' },
        );
      },
    }),
  ),
]);

const begun = (payload: string) => sendText(payload, { fin: false });
const last = (payload: string) => sendContinuation(payload);
const longest = Buffer.alloc(125, 0xfe);

const fragments = inGroup('Fragmentation', 'fragments', [
  {
    name: 'of-close',
    description: 'Sends a close frame without FIN.',
    expectation: 'The peer fails the connection with 1002: control frames must not be fragmented.',
    plan: () => mustFail([sendFrame(Opcode.Close, Buffer.from([3, 0xe8]), { fin: false })]),
  },
  {
    name: 'nested-binary',
    description: 'Sends a fragment of a text, then a binary message.',
    expectation: 'The peer fails the connection with 1002: the text is still incomplete.',
    plan: () => mustFail([begun('fragment1'), sendBinary('fragment2')]),
  },
  {
    name: 'rsv-in-second',
    description: 'Sends a text in two fragments; the second has RSV2 set.',
    expectation: 'The peer fails the connection with 1002: no extension defines the bit.',
    plan: () => mustFail([begun('fragment1'), sendContinuation('fragment2', { rsv: 2 })]),
  },
  {
    name: 'rsv1-in-second',
    description: 'Sends a text in two fragments; the second has RSV1 set.',
    expectation: 'The peer fails the connection with 1002: no extension defines the bit.',
    plan: () => mustFail([begun('fragment1'), sendContinuation('fragment2', { rsv: 4 })]),
  },
  {
    name: 'reserved-opcode-between',
    description: 'Sends a fragment, a frame with a reserved opcode, and the last fragment.',
    expectation: 'The peer fails the connection with 1002.',
    plan: () => mustFail([begun('fragment1'), sendFrame(3), last('fragment2')]),
  },
  {
    name: 'pong-between',
    description: 'Sends a text in two fragments, with a pong between them.',
    expectation: 'The peer echoes the text, and does not answer the pong.',
    plan: () =>
      answered(
        [begun('fragment1'), sendPong('unasked'), last('fragment2')],
        [echoOfText('fragment1fragment2')],
      ),
  },
  {
    name: 'long-ping-between',
    description: 'Sends a binary message in two fragments, with a ping of 125 bytes between them.',
    expectation: 'The peer answers the ping, then echoes the message.',
    plan: () =>
      answered(
        [sendBinary('fragment1', { fin: false }), sendPing(longest), last('fragment2')],
        [pong(longest), echoOfBinary('fragment1fragment2')],
      ),
  },
  {
    name: 'two-messages',
    description: 'Sends a text in fragments of one byte, a binary message in one frame, and the text again.',
    expectation: 'The peer echoes all three, in order.',
    plan: () =>
      answered(
        [...byteFragments(letters), sendBinary(letters), ...byteFragments(letters)],
        [echoOfText(letters), echoOfBinary(letters), echoOfText(letters)],
        { after: 10 * second, end: 'fail' },
      ),
  },
]);

const reasons: readonly (readonly [
  name: string,
  what: string,
  code: number,
  steps: () => readonly Step[],
])[] = [
  ['opcode', 'a frame with a reserved opcode', ProtocolError, () => [sendFrame(3)]],
  ['control-opcode', 'a control frame with a reserved opcode', ProtocolError, () => [sendFrame(11)]],
  ['rsv', 'a text with RSV2 set', ProtocolError, () => [sendText(hello, { rsv: 2 })]],
  ['fragmented-ping', 'a ping without FIN', ProtocolError, () => [sendPing('', { fin: false })]],
  ['long-ping', 'a ping of 126 bytes', ProtocolError, () => [sendPing(Buffer.alloc(126))]],
  ['continuation', 'a continuation frame outside a message', ProtocolError, () => [sendContinuation(hello)]],
  ['mask', 'a frame with the wrong masking', ProtocolError, () => [sendText(hello, wrongMask)]],
  ['text', 'a text that is not UTF-8', InvalidPayload, () => [sendText(hex('eda080'))]],
];

const failing = inGroup(
  'Failing the connection',
  'failing',
  reasons.map(
    ([name, what, code, steps]): CaseRow => ({
      name,
      description: `Sends ${what}.`,
      expectation: `The peer sends a close frame with code ${code}, and ends TCP. Ending TCP without a close frame is NON-STRICT (RFC 6455 §7.1.7).`,
      plan: () => mustFail(steps(), code, { wantsFrame: true }),
    }),
  ),
);

export const strictFraming: readonly ConformanceCase[] = [...masking, ...lengths, ...fragments, ...failing];
