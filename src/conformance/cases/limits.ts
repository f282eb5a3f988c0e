/** Group 9 of Autobahn's suite: large messages, in one frame, in many fragments and in many writes; and many round trips. */
import { Buffer } from 'node:buffer';
import { Opcode } from '../../protocol/codes.ts';
import {
  answered,
  type ConformanceCase,
  type Deadline,
  echoOfBinary,
  echoOfText,
  second,
  sendFrame,
} from '../case.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

const group = 'Limits';

/** The two kinds of messages. Their numbers alternate: 9.1.x is text, 9.2.x binary, and so on. */
const kinds = [
  { word: 'text', isText: true, offset: 0 },
  { word: 'binary', isText: false, offset: 1 },
] as const;

type MessageKind = (typeof kinds)[number];

const asciiPattern = Buffer.from('Wj4&frog-9');
const binaryPattern = Buffer.from([0x00, 0xfe, 0x23, 0xfa, 0xf0]);

/** Repeats a pattern whose length divides no power of two, so a lost or repeated piece shifts the rest. */
function payloadFor({ isText }: MessageKind, length: number): Buffer {
  return Buffer.alloc(length, isText ? asciiPattern : binaryPattern);
}

const echoOf = ({ isText }: MessageKind, payload: Buffer) =>
  isText ? echoOfText(payload) : echoOfBinary(payload);

/** `64k`, `4m`. */
const sizeWord = (bytes: number) =>
  bytes >= MiB ? `${bytes / MiB}m` : bytes >= KiB ? `${bytes / KiB}k` : String(bytes);

const sizeWords = (bytes: number) =>
  bytes >= MiB ? `${bytes / MiB} MiB` : bytes >= KiB ? `${bytes / KiB} KiB` : `${bytes} bytes`;

const closesAfter = (seconds: number): Deadline => ({ after: seconds * second, end: 'close' });

const expectation = 'The peer echoes the message.';

/** 9.1 and 9.2. */
function wholeMessages(kind: MessageKind): ConformanceCase[] {
  return [64 * KiB, 256 * KiB, MiB, 4 * MiB, 8 * MiB, 16 * MiB].map((length, at) => ({
    name: `limits/${kind.word}-${sizeWord(length)}`,
    number: `9.${1 + kind.offset}.${at + 1}`,
    group,
    description: `Sends a ${kind.word} message of ${sizeWords(length)} in one frame.`,
    expectation,
    isLarge: length > MiB,
    plan() {
      const payload = payloadFor(kind, length);
      const frame = sendFrame(kind.isText ? Opcode.Text : Opcode.Binary, payload);
      return answered([frame], [echoOf(kind, payload)], closesAfter(100));
    },
  }));
}

/** 9.3 and 9.4. */
function fragmentedMessages(kind: MessageKind): ConformanceCase[] {
  const length = 4 * MiB;
  const fragments = [64, 256, KiB, 4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, MiB, 4 * MiB];
  return fragments.map((fragment, at) => ({
    name: `limits/${kind.word}-4m-in-fragments-of-${sizeWord(fragment)}`,
    number: `9.${3 + kind.offset}.${at + 1}`,
    group,
    description: `Sends a ${kind.word} message of 4 MiB in fragments of ${sizeWords(fragment)}.`,
    expectation,
    isLarge: true,
    plan() {
      const payload = payloadFor(kind, length);
      const message = { do: 'message', isText: kind.isText, payload, fragment } as const;
      return answered([message], [echoOf(kind, payload)], closesAfter(100));
    },
  }));
}

/** 9.5 and 9.6. */
function choppedMessages(kind: MessageKind): ConformanceCase[] {
  return [64, 128, 256, 512, KiB, 2 * KiB].map((chop, at) => ({
    name: `limits/${kind.word}-1m-in-writes-of-${sizeWord(chop)}`,
    number: `9.${5 + kind.offset}.${at + 1}`,
    group,
    description: `Sends a ${kind.word} message of 1 MiB in one frame, ${sizeWords(chop)} per write.`,
    expectation,
    isLarge: true,
    plan() {
      const payload = payloadFor(kind, MiB);
      const frame = sendFrame(kind.isText ? Opcode.Text : Opcode.Binary, payload, { chop });
      return answered([frame], [echoOf(kind, payload)], closesAfter(1000));
    },
  }));
}

/** The length of a case's messages, and the time limit for all of them. */
const roundTrips: readonly (readonly [length: number, seconds: number])[] = [
  [0, 60],
  [16, 60],
  [64, 60],
  [256, 120],
  [KiB, 240],
  [4 * KiB, 480],
];

/** 9.7 and 9.8. */
function manyMessages(kind: MessageKind): ConformanceCase[] {
  const count = 1000;
  return roundTrips.map(([length, seconds], at) => ({
    name: `limits/${kind.word}-round-trips-of-${sizeWord(length)}`,
    number: `9.${7 + kind.offset}.${at + 1}`,
    group,
    description: `Sends ${count} ${kind.word} messages of ${sizeWords(length)}, each after the echo of the previous one.`,
    expectation: `The peer echoes all messages within ${seconds} seconds.`,
    isLarge: true,
    plan() {
      const message = { isText: kind.isText, payload: payloadFor(kind, length) };
      return answered([{ do: 'round trips', count, message: () => message }], [], closesAfter(seconds));
    },
  }));
}

export const limitCases: readonly ConformanceCase[] = [
  wholeMessages,
  fragmentedMessages,
  choppedMessages,
  manyMessages,
].flatMap(make => kinds.flatMap(make));
