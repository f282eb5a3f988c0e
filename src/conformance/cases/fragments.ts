/** Group 5: messages in fragments, and control frames between them (RFC 6455 §5.4). */
import {
  answered,
  type CasePlan,
  type CaseRow,
  type ConformanceCase,
  echoOfText,
  failed,
  inGroup,
  pong,
  type Step,
  second,
  sendContinuation,
  sendPing,
  sendPong,
  sendText,
} from '../case.ts';

/** The classic suite's ways to write frames: in one write, in one write per frame, or byte by byte. */
type Way = 'together' | 'each' | 'bytes';
const inWords: Readonly<Record<Way, string>> = {
  together: '',
  each: ', each in a separate write',
  bytes: ', one byte per write',
};
const suffix: Readonly<Record<Way, string>> = { together: '', each: '-apart', bytes: '-chopped' };
/** A chop of a kilobyte holds any of these frames, so each frame becomes one write. */
const chopOf: Readonly<Record<Way, number | undefined>> = { together: undefined, each: 1024, bytes: 1 };

const begun = (payload: string, chop?: number) => sendText(payload, { fin: false, chop });
const more = (payload: string, chop?: number) => sendContinuation(payload, { fin: false, chop });
const last = (payload: string, chop?: number) => sendContinuation(payload, { chop });

const nothingToContinue = 'The peer fails the connection with 1002: there is no message to continue.';

function twoFragments(number: string, way: Way): CaseRow {
  const chop = chopOf[way];
  return {
    name: `two${suffix[way]}`,
    number,
    description: `Sends a text in two fragments${inWords[way]}.`,
    expectation: 'The peer echoes the text.',
    plan: () =>
      answered([begun('fragment1', chop), last('fragment2', chop)], [echoOfText('fragment1fragment2')]),
  };
}

function pingBetween(number: string, way: Way): CaseRow {
  const chop = chopOf[way];
  return {
    name: `ping-between${suffix[way]}`,
    number,
    description: `Sends a text in two fragments, with a ping between them${inWords[way]}.`,
    expectation: 'The peer answers the ping, then echoes the text.',
    plan: () =>
      answered(
        [begun('fragment1', chop), sendPing('ping payload', { chop }), last('fragment2', chop)],
        [pong('ping payload'), echoOfText('fragment1fragment2')],
      ),
  };
}

function loneContinuation(number: string, fin: boolean, way: Way): CaseRow {
  const chop = chopOf[way];
  return {
    name: `lone-continuation${fin ? '' : '-without-fin'}${suffix[way]}`,
    number,
    description: `Sends a continuation frame ${fin ? 'with' : 'without'} FIN outside a message, then a text${inWords[way]}.`,
    expectation: nothingToContinue,
    plan: () =>
      failed([
        sendContinuation('non-continuation payload', { fin, chop }),
        sendText('Hello, world!', { chop }),
      ]),
  };
}

function twiceLone(number: string, fin: boolean): CaseRow {
  const once: readonly Step[] = [
    sendContinuation('fragment1', { fin }),
    begun('fragment2'),
    last('fragment3'),
  ];
  return {
    name: `lone-continuation${fin ? '' : '-without-fin'}-twice`,
    number,
    description: `Sends twice: a continuation frame ${fin ? 'with' : 'without'} FIN outside a message, then a text in two fragments.`,
    expectation: nothingToContinue,
    plan: () => failed([...once, ...once]),
  };
}

function fiveFragments(way: Way): CasePlan {
  const chop = chopOf[way];
  const steps: readonly Step[] = [
    begun('fragment1', chop),
    more('fragment2', chop),
    sendPing('pongme 1!', { chop }),
    { do: 'wait', time: second },
    more('fragment3', chop),
    more('fragment4', chop),
    sendPing('pongme 2!', { chop }),
    last('fragment5', chop),
  ];
  const echo = 'fragment1fragment2fragment3fragment4fragment5';
  return answered(steps, [pong('pongme 1!'), pong('pongme 2!'), echoOfText(echo)]);
}

export const fragments: readonly ConformanceCase[] = inGroup('Fragmentation', 'fragments', [
  {
    name: 'of-ping',
    number: '5.1',
    description: 'Sends a ping in two fragments.',
    expectation: 'The peer fails the connection with 1002: control frames must not be fragmented.',
    plan: () => failed([sendPing('fragment1', { fin: false }), last('fragment2')]),
  },
  {
    name: 'of-pong',
    number: '5.2',
    description: 'Sends a pong in two fragments.',
    expectation: 'The peer fails the connection with 1002: control frames must not be fragmented.',
    plan: () => failed([sendPong('fragment1', { fin: false }), last('fragment2')]),
  },
  twoFragments('5.3', 'together'),
  twoFragments('5.4', 'each'),
  twoFragments('5.5', 'bytes'),
  pingBetween('5.6', 'together'),
  pingBetween('5.7', 'each'),
  pingBetween('5.8', 'bytes'),
  loneContinuation('5.9', true, 'together'),
  loneContinuation('5.10', true, 'each'),
  loneContinuation('5.11', true, 'bytes'),
  loneContinuation('5.12', false, 'together'),
  loneContinuation('5.13', false, 'each'),
  loneContinuation('5.14', false, 'bytes'),
  {
    name: 'lone-continuation-after-message',
    number: '5.15',
    description: 'Sends a text in two fragments, a continuation frame without FIN, and a text.',
    expectation: `The peer echoes the text. ${nothingToContinue}`,
    plan: () =>
      failed([begun('fragment1'), last('fragment2'), more('fragment3'), sendText('fragment4')], 1002, [
        echoOfText('fragment1fragment2'),
      ]),
  },
  twiceLone('5.16', false),
  twiceLone('5.17', true),
  {
    name: 'nested-message',
    number: '5.18',
    description: 'Sends a text in two fragments, the second with the opcode of a text instead of 0.',
    expectation: 'The peer fails the connection with 1002: later fragments must have opcode 0.',
    plan: () => failed([begun('fragment1'), sendText('fragment2')]),
  },
  {
    name: 'five-with-pings',
    number: '5.19',
    description:
      'Sends two of five fragments and a ping, waits a second, and sends two fragments, a ping and the last one.',
    expectation: 'The peer answers each ping, then echoes the text.',
    plan: () => fiveFragments('together'),
  },
  {
    name: 'five-with-pings-apart',
    number: '5.20',
    description:
      'Sends two of five fragments and a ping, waits a second, and sends two fragments, a ping and the last one, each in a separate write.',
    expectation: 'The peer answers each ping, then echoes the text.',
    plan: () => fiveFragments('each'),
  },
]);
