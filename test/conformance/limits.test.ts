/** Groups 9 and 10: large messages, whole, fragmented and in chops, and many small ones. */
import { after, before, describe, test } from 'node:test';
import { connectRaw } from '../support/rawClient.ts';
import { closeFrame, closePayload, frame, opcode } from '../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';
import { answer, assertEnd, assertFrame, assertUnharmed, type Case, runCases } from './runCases.ts';

const { continuation } = opcode;
const KiB = 1024;
const MiB = 1024 * KiB;

type Kind = 'text' | 'binary';
const kinds: readonly [Kind, Kind] = ['text', 'binary'];

/** A payload that reveals misplaced bytes: for text, characters of one to four bytes. */
function content(kind: Kind, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  if (kind === 'binary') for (let at = 0; at < size; at++) bytes[at] = (at * 2_654_435_761) >>> 24;
  else fillWithText(bytes);
  return bytes;
}

function fillWithText(bytes: Buffer): void {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) at += bytes.write(`${i} aäα€😀 `, at);
  // `write` omits a character that does not fit; ASCII fills the rest.
  const whole = Buffer.from(bytes.toString('utf8').replace(/\0+$/, '')).length;
  bytes.fill('.', whole);
}

const show = (size: number) =>
  size < KiB ? `${size} B` : size < MiB ? `${size / KiB} KiB` : `${size / MiB} MiB`;

function fragments(kind: Kind, payload: Buffer, size: number): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < payload.length; at += size) {
    const fin = at + size >= payload.length;
    frames.push(frame(at === 0 ? opcode[kind] : continuation, payload.subarray(at, at + size), { fin }));
  }
  return frames;
}

function large(group: string, kind: Kind): Case[] {
  return [64 * KiB, 256 * KiB, MiB, 4 * MiB, 8 * MiB, 16 * MiB].map((size, index): Case => {
    const payload = content(kind, size);
    return {
      id: `${group}.${index + 1}`,
      does: `echoes a ${kind} message of ${show(size)}`,
      sends: [frame(opcode[kind], payload)],
      answers: [answer(opcode[kind], payload)],
    };
  });
}

function fragmented(group: string, kind: Kind): Case[] {
  const payload = content(kind, 4 * MiB);
  return [64, 256, KiB, 4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, MiB, 4 * MiB].map(
    (size, index): Case => ({
      id: `${group}.${index + 1}`,
      does: `echoes a ${kind} message of 4 MiB in fragments of ${show(size)}`,
      sends: fragments(kind, payload, size),
      answers: [answer(opcode[kind], payload)],
    }),
  );
}

function chopped(group: string, kind: Kind): Case[] {
  const payload = content(kind, 4 * MiB);
  return [64, 128, 256, 512, 1024, 2048, 4096].map(
    (size, index): Case => ({
      id: `${group}.${index + 1}`,
      does: `echoes a ${kind} message of 4 MiB that arrives in chops of ${show(size)}`,
      sends: [frame(opcode[kind], payload)],
      chopped: size,
      answers: [answer(opcode[kind], payload)],
    }),
  );
}

const overLimit: Case[] = [
  {
    id: '9.x.1',
    does: 'refuses a fragment that makes a message larger than 16 MiB, on its header',
    sends: [
      frame(opcode.binary, Buffer.alloc(16 * MiB), { fin: false }),
      frame(continuation, '', { announcedLength: 1 }),
    ],
    failsWith: 1009,
  },
  {
    id: '9.x.2',
    does: 'echoes a message of 16 MiB with an empty last fragment',
    sends: [frame(opcode.binary, Buffer.alloc(16 * MiB), { fin: false }), frame(continuation)],
    answers: [answer(opcode.binary, Buffer.alloc(16 * MiB))],
  },
];

const autoFragmented: Case = {
  id: '10.1.1',
  does: 'echoes a text of 64 KiB in fragments of 1,300 bytes',
  sends: fragments('text', content('text', 64 * KiB), 1300),
  answers: [answer(opcode.text, content('text', 64 * KiB))],
};

const [text, binary] = kinds;
runCases('9.1, 9.2 large messages', [...large('9.1', text), ...large('9.2', binary), ...overLimit]);
runCases('9.3, 9.4 and 10 large fragmented messages', [
  ...fragmented('9.3', text),
  ...fragmented('9.4', binary),
  autoFragmented,
]);
runCases('9.5, 9.6 large messages in chops', [...chopped('9.5', text), ...chopped('9.6', binary)]);

describe('9.7, 9.8 a thousand messages, each sent after the echo of the one before', {
  concurrency: 4,
  timeout: 60_000,
}, () => {
  let server: ServerProcess;
  before(async () => {
    server = await startServer();
  });
  after(() => assertUnharmed(server));
  for (const [row, kind] of kinds.entries()) {
    [0, 16, 64, 256, KiB, 4 * KiB, 16 * KiB].forEach((size, index) => {
      const id = `9.${7 + row}.${index + 1}`;
      test(`${id} the server echoes each of 1,000 ${kind} messages of ${show(size)}`, async () => {
        const client = await connectRaw(server.port, { path: '/echo' });
        const payload = content(kind, size);
        const sent = frame(opcode[kind], payload);
        for (let i = 0; i < 1000; i++) {
          client.send(sent);
          assertFrame(id, await client.nextFrame(), answer(opcode[kind], payload));
        }
        client.send(closeFrame(1000));
        assertFrame(id, await client.nextFrame(), answer(opcode.close, closePayload(1000)));
        await assertEnd(id, client);
      });
    });
  }
});
