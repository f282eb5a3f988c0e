/** Group 2: pings and pongs (RFC 6455 §5.5.2, §5.5.3). */
import { Buffer } from 'node:buffer';
import {
  answered,
  type CasePlan,
  type ConformanceCase,
  closeWith,
  failed,
  pong,
  sendPing,
  sendPong,
} from '../case.ts';

const group = 'Pings and pongs';
const notText = Buffer.from('00fffefdfcfb00ff', 'hex');
const longest = Buffer.alloc(125, 0xfe);
const ten = Array.from({ length: 10 }, (_, i) => `payload-${i}`);

/** An unsolicited pong, and the end of the connection. */
function pongAndClose(payload: string): CasePlan {
  const plan = answered([sendPong(payload), closeWith(1000)], []);
  return { ...plan, close: { ...plan.close, isInSteps: true } };
}

export const pings: readonly ConformanceCase[] = [
  {
    name: 'pings/empty',
    number: '2.1',
    group,
    description: 'Sends a ping without payload.',
    expectation: 'The peer answers with a pong without payload.',
    plan: () => answered([sendPing()], [pong()]),
  },
  {
    name: 'pings/text',
    number: '2.2',
    group,
    description: 'Sends a ping with a short text as payload.',
    expectation: 'The peer answers with a pong that has the same payload.',
    plan: () => answered([sendPing('Hello, world!')], [pong('Hello, world!')]),
  },
  {
    name: 'pings/binary',
    number: '2.3',
    group,
    description: 'Sends a ping whose payload is not UTF-8.',
    expectation: 'The peer answers with a pong that has the same payload.',
    plan: () => answered([sendPing(notText)], [pong(notText)]),
  },
  {
    name: 'pings/longest',
    number: '2.4',
    group,
    description: 'Sends a ping with 125 bytes of payload, the most that a control frame may carry.',
    expectation: 'The peer answers with a pong that has the same payload.',
    plan: () => answered([sendPing(longest)], [pong(longest)]),
  },
  {
    name: 'pings/too-long',
    number: '2.5',
    group,
    description: 'Sends a ping with 126 bytes of payload.',
    expectation: 'The peer fails the connection with 1002: a control frame carries at most 125 bytes.',
    plan: () => failed([sendPing(Buffer.alloc(126, 0xfe))]),
  },
  {
    name: 'pings/longest-chopped',
    number: '2.6',
    group,
    description: 'Sends a ping with 125 bytes of payload, one byte per write.',
    expectation: 'The peer answers with a pong that has the same payload.',
    plan: () => answered([sendPing(longest, { chop: 1 })], [pong(longest)]),
  },
  {
    name: 'pings/unasked-pong-empty',
    number: '2.7',
    group,
    description: 'Sends an unsolicited pong without payload, and closes.',
    expectation: 'The peer does not answer the pong.',
    plan: () => pongAndClose(''),
  },
  {
    name: 'pings/unasked-pong',
    number: '2.8',
    group,
    description: 'Sends an unsolicited pong with payload, and closes.',
    expectation: 'The peer does not answer the pong.',
    plan: () => pongAndClose('unsolicited pong payload'),
  },
  {
    name: 'pings/unasked-pong-then-ping',
    number: '2.9',
    group,
    description: 'Sends an unsolicited pong, then a ping.',
    expectation: 'The peer sends one pong, for the ping.',
    plan: () =>
      answered([sendPong('unsolicited pong payload'), sendPing('ping payload')], [pong('ping payload')]),
  },
  {
    name: 'pings/ten',
    number: '2.10',
    group,
    description: 'Sends ten pings with different payloads.',
    expectation: 'The peer answers each with a pong, in order.',
    plan: () =>
      answered(
        ten.map(payload => sendPing(payload)),
        ten.map(pong),
        { after: 3000, end: 'close' },
      ),
  },
  {
    name: 'pings/ten-chopped',
    number: '2.11',
    group,
    description: 'Sends ten pings with different payloads, one byte per write.',
    expectation: 'The peer answers each with a pong, in order.',
    plan: () =>
      answered(
        ten.map(payload => sendPing(payload, { chop: 1 })),
        ten.map(pong),
        { after: 3000, end: 'close' },
      ),
  },
];
