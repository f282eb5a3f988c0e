import { frame, opcode } from '../support/rawFrame.ts';
import { answer, type Case, runCases } from './runCases.ts';

const { continuation, text, binary, ping, pong } = opcode;
const first = frame(text, 'fragment1', { fin: false });
const middle = frame(continuation, 'fragment2', { fin: false });
const last = frame(continuation, 'fragment2');
const message = answer(text, 'fragment1fragment2');
const nothingToContinue = frame(continuation, 'non-continuation payload', { fin: false });
const lastOfNothing = frame(continuation, 'non-continuation payload');
const hello = frame(text, 'Hello, world!');

type Row = Pick<Case, 'does' | 'sends' | 'answers' | 'failsWith'>;

/** In one write, frame by frame, and an octet at a time. */
function everyWay(ids: readonly [string, string, string], row: Row): Case[] {
  return (['together', 'each', 1] as const).map((chopped, index) => ({ id: ids[index]!, chopped, ...row }));
}

const cases: Case[][] = [
  everyWay(['5.1', '5.1a', '5.1b'], {
    does: 'refuses a fragmented ping',
    sends: [frame(ping, 'fragment1', { fin: false }), last],
    failsWith: 1002,
  }),
  everyWay(['5.2', '5.2a', '5.2b'], {
    does: 'refuses a fragmented pong',
    sends: [frame(pong, 'fragment1', { fin: false }), last],
    failsWith: 1002,
  }),
  everyWay(['5.3', '5.4', '5.5'], {
    does: 'echoes a message of two fragments',
    sends: [first, last],
    answers: [message],
  }),
  everyWay(['5.6', '5.7', '5.8'], {
    does: 'answers a ping between two fragments at once, and then echoes the message',
    sends: [first, frame(ping, 'pongme 1!'), last],
    answers: [answer(pong, 'pongme 1!'), message],
  }),
  everyWay(['5.9', '5.10', '5.11'], {
    does: 'refuses a final continuation frame as the first frame',
    sends: [lastOfNothing, hello],
    failsWith: 1002,
  }),
  everyWay(['5.12', '5.13', '5.14'], {
    does: 'refuses a continuation frame as the first frame',
    sends: [nothingToContinue, hello],
    failsWith: 1002,
  }),
  everyWay(['5.15', '5.15a', '5.15b'], {
    does: 'refuses a continuation frame behind a whole message',
    sends: [first, last, nothingToContinue, hello],
    answers: [message],
    failsWith: 1002,
  }),
  everyWay(['5.16', '5.16a', '5.16b'], {
    does: 'refuses a continuation frame without a message',
    sends: [nothingToContinue, first, last, nothingToContinue, first, last],
    failsWith: 1002,
  }),
  everyWay(['5.17', '5.17a', '5.17b'], {
    does: 'refuses a final continuation frame without a message',
    sends: [lastOfNothing, first, last, lastOfNothing, first, last],
    failsWith: 1002,
  }),
  everyWay(['5.18', '5.18a', '5.18b'], {
    does: 'refuses a second fragment with the opcode of a text',
    sends: [first, frame(text, 'fragment2')],
    failsWith: 1002,
  }),
  everyWay(['5.18c', '5.18d', '5.18e'], {
    does: 'refuses a binary message inside a fragmented text',
    sends: [first, frame(binary, 'fragment2', { fin: false })],
    failsWith: 1002,
  }),
  everyWay(['5.19', '5.20', '5.20a'], {
    does: 'echoes a message of five fragments and answers the two pings in between',
    sends: [
      first,
      middle,
      frame(ping, 'pongme 1!'),
      frame(continuation, 'fragment3', { fin: false }),
      frame(continuation, 'fragment4', { fin: false }),
      frame(ping, 'pongme 2!'),
      frame(continuation, 'fragment5'),
    ],
    answers: [
      answer(pong, 'pongme 1!'),
      answer(pong, 'pongme 2!'),
      answer(text, 'fragment1fragment2fragment3fragment4fragment5'),
    ],
  }),
  everyWay(['5.21a', '5.21b', '5.21c'], {
    does: 'echoes a fragmented binary message as binary, even with empty fragments',
    sends: [
      frame(binary, '', { fin: false }),
      frame(continuation, Buffer.from([0xff, 0x00]), { fin: false }),
      frame(pong, 'unsolicited'),
      frame(continuation, '', { fin: false }),
      frame(continuation, Buffer.from([0xfe])),
    ],
    answers: [answer(binary, Buffer.from([0xff, 0x00, 0xfe]))],
  }),
];

runCases('5 fragmentation', cases.flat());
