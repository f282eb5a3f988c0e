import assert from 'node:assert/strict';
import { connectRaw, type RawClient } from '../../../support/rawClient.ts';
import { closeFrame, frame, opcode, type RawFrame } from '../../../support/rawFrame.ts';
import type { Exercise, Work } from '../exercise.ts';
import { closeCodeOf, inWords } from '../frames.ts';

const total = packet(8, 2);

export const exercise: Exercise = {
  file: 'sum.ts',
  starter: 'starter.ts',
  solution: 'solution.ts',
  checks: [
    {
      claim: 'the server agrees on the subprotocol, and adds two numbers',
      async run(work) {
        const client = await connectSum(await startSum(work));
        assert.equal(
          client.headers.get('sec-websocket-protocol'),
          'sum.v1',
          'The handler must have the name sum.v1.',
        );
        client.send(binary(add(2)), binary(add(40)), binary(total), closeFrame());
        await expectTotal(client, 42, 'A client sent ADD 2, ADD 40 and TOTAL in three messages');
      },
    },
    {
      claim: 'a message may have several packets, and a value may be negative',
      async run(work) {
        const client = await connectSum(await startSum(work));
        client.send(binary(add(2), add(-300), total, add(1), total), closeFrame());
        await expectTotal(
          client,
          -298,
          'A client sent ADD 2, ADD -300, TOTAL, ADD 1 and TOTAL in one message',
        );
        await expectTotal(client, -297, 'The same client waits for the answer to its second TOTAL');
      },
    },
    {
      claim: 'each connection has a sum of its own',
      async run(work) {
        const port = await startSum(work);
        const [one, other] = [await connectSum(port), await connectSum(port)];
        one.send(binary(add(7)), binary(total), closeFrame());
        await expectTotal(one, 7, 'A client sent ADD 7 and TOTAL');
        other.send(binary(total), closeFrame());
        await expectTotal(other, 0, 'Another client sent TOTAL and nothing else');
      },
    },
    {
      claim: 'an unknown command has an answer, and the connection goes on',
      async run(work) {
        const client = await connectSum(await startSum(work));
        client.send(binary(packet(8, 77), total), closeFrame());
        const answer = await next(client);
        const said = inPacket(answer);
        assert.ok(
          said === 'cmd 4',
          `A client sent the cmd 77. It should get a packet of 8 bytes with cmd 4, and got ${said}.`,
        );
        await expectTotal(client, 0, 'After that it sent TOTAL');
      },
    },
    {
      claim: '4400 closes a client that sends a text',
      run: work => expectClosed(work, [['a text', frame(opcode.text, 'hello')]]),
    },
    {
      claim: '4400 closes a client whose packet has a wrong size',
      run: work =>
        expectClosed(work, [
          ['a packet with the size 7', binary(packet(7, 2))],
          ['a packet with the size 0', binary(packet(0, 2))],
          ['a packet that is shorter than its header', binary(total.subarray(0, 5))],
          ['a packet that ends behind the message', binary(packet(12, 1))],
          ['a packet of 4,294,967,295 bytes', binary(packet(-1, 2))],
          ['an ADD without a value', binary(packet(8, 1))],
          ['a TOTAL with a value', binary(packet(12, 2, 5))],
        ]),
    },
  ],
};

/** @param lies what a client sends, each on a connection of its own */
async function expectClosed(
  work: Work,
  lies: readonly (readonly [claim: string, bytes: Buffer])[],
): Promise<void> {
  const port = await startSum(work);
  for (const [claim, bytes] of lies) {
    const client = await connectSum(port);
    client.send(bytes, binary(total), closeFrame());
    const answer = await client.nextFrame();
    client.destroy();
    const code = closeCodeOf(answer);
    const got = code === undefined ? inPacket(answer) : code === 1005 ? 'no answer' : inWords(answer);
    assert.ok(code === 4400, `A client sent ${claim}. It should be closed with 4400, and got ${got}.`);
  }
}

async function startSum(work: Work): Promise<number> {
  const { port } = await work.startServer('--handlers', work.folder);
  return port;
}

function connectSum(port: number): Promise<RawClient> {
  return connectRaw(port, { headers: { 'Sec-WebSocket-Protocol': 'sum.v1' } });
}

/** The next frame. The client has closed with an empty close frame, and the server's answer to that is none. */
async function next(client: RawClient): Promise<RawFrame | undefined> {
  const answer = await client.nextFrame();
  if (closeCodeOf(answer) !== 1005) return answer;
  assert.fail(
    'A client asked for the TOTAL, and got no answer: does your handler read the packet and call send?',
  );
}

async function expectTotal(client: RawClient, value: number, situation: string): Promise<void> {
  const got = inPacket(await next(client));
  assert.ok(
    got === `cmd 3 with ${value}`,
    `${situation}. It should get cmd 3 with ${value}, and got ${got}.`,
  );
}

/** A packet in words: `cmd 3 with 42`. */
function inPacket(answer: RawFrame | undefined): string {
  const { payload } = answer ?? {};
  if (answer?.opcode !== opcode.binary || payload === undefined) return inWords(answer);
  if (payload.length < 8 || payload.length !== payload.readUInt32LE())
    return `a packet of ${payload.length} bytes whose size is not that`;
  const cmd = `cmd ${payload.readInt32LE(4)}`;
  return payload.length === 12 ? `${cmd} with ${payload.readInt32LE(8)}` : cmd;
}

function add(value: number): Buffer {
  return packet(12, 1, value);
}

function packet(size: number, cmd: number, value?: number): Buffer {
  const bytes = Buffer.alloc(value === undefined ? 8 : 12);
  bytes.writeInt32LE(size, 0);
  bytes.writeInt32LE(cmd, 4);
  if (value !== undefined) bytes.writeInt32LE(value, 8);
  return bytes;
}

function binary(...packets: Buffer[]): Buffer {
  return frame(opcode.binary, Buffer.concat(packets));
}
