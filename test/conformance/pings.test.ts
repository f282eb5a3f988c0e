import { frame, opcode } from '../support/rawFrame.ts';
import { answer, type Case, runCases } from './runCases.ts';

const { ping, pong } = opcode;
const longest = Buffer.alloc(125, 0xfe);
const binary = Buffer.from([0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff]);
const ten = Array.from({ length: 10 }, (_, i) => `payload-${i}`);

const cases: Case[] = [
  { id: '2.1', does: 'answers a ping without payload', sends: [frame(ping)], answers: [answer(pong)] },
  {
    id: '2.2',
    does: 'answers a ping with a text payload',
    sends: [frame(ping, 'Hello, world!')],
    answers: [answer(pong, 'Hello, world!')],
  },
  {
    id: '2.3',
    does: 'answers a ping with a binary payload',
    sends: [frame(ping, binary)],
    answers: [answer(pong, binary)],
  },
  {
    id: '2.4',
    does: 'answers a ping of 125 bytes',
    sends: [frame(ping, longest)],
    answers: [answer(pong, longest)],
  },
  {
    id: '2.5',
    does: 'refuses a ping of 126 bytes',
    sends: [frame(ping, Buffer.alloc(126, 0xfe))],
    failsWith: 1002,
  },
  {
    id: '2.5a',
    does: 'refuses a ping of 126 bytes on its first two bytes',
    sends: [frame(ping, Buffer.alloc(126, 0xfe)).subarray(0, 2)],
    failsWith: 1002,
  },
  {
    id: '2.6',
    does: 'answers a ping that arrives byte by byte',
    sends: [frame(ping, longest)],
    chopped: 1,
    answers: [answer(pong, longest)],
  },
  { id: '2.7', does: 'ignores an unsolicited pong', sends: [frame(pong)] },
  {
    id: '2.8',
    does: 'ignores an unsolicited pong with a payload',
    sends: [frame(pong, 'unsolicited')],
  },
  {
    id: '2.9',
    does: 'ignores an unsolicited pong and answers the ping behind it',
    sends: [frame(pong, 'unsolicited'), frame(ping, 'ping')],
    answers: [answer(pong, 'ping')],
  },
  {
    id: '2.10',
    does: 'answers ten pings in order',
    sends: ten.map(payload => frame(ping, payload)),
    answers: ten.map(payload => answer(pong, payload)),
  },
  {
    id: '2.11',
    does: 'answers ten pings that arrive byte by byte',
    sends: ten.map(payload => frame(ping, payload)),
    chopped: 1,
    answers: ten.map(payload => answer(pong, payload)),
  },
];

runCases('2 pings and pongs', cases);
