import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get } from 'node:http';
import { join } from 'node:path';
import { connectRaw, type RawClient } from '../../../support/rawClient.ts';
import { frame, opcode, type RawFrame } from '../../../support/rawFrame.ts';
import { temporaryFolder } from '../../../support/temporaryFolder.ts';
import type { Exercise, Work } from '../exercise.ts';
import { closeCodeOf, inWords } from '../frames.ts';
import { textBetween } from '../source.ts';

const fanout = 'src/core/fanout.ts';

const task = `// Exercise 8: \`size\` bytes wait for this member, and its socket is busy. Up to \`maxBuffered\` bytes it takes part in the
  // fan-out (return true). A member with more is a slow consumer: set \`member.isSlowConsumer\`, add the member to the server's
  // list \`slowConsumers\`, call \`scheduleFlush(member)\`, and return false. Do not close it here, where the loop over the
  // members has not ended: the function below does that.
  return true;
}`;

const closingTask = `// Exercise 8: drop what waits for it with \`clearQueue(queue)\`, and close it with
  // \`closeConnection(connection, code, reason)\` and the code for "try again later".`;

/** The messages of a fan-out, and the size of each. */
const count = 1500;
const size = 16 * 1024;

export const exercise: Exercise = {
  file: 'fanout.ts',
  replaces: fanout,
  starter: [
    { find: textBetween(fanout, 'if (size <= maxBuffered) return true;', '\n}'), replace: task },
    { find: textBetween(fanout, 'clearQueue(queue);', "'too far behind');"), replace: closingTask },
  ],
  solution: [],
  checks: [
    {
      claim: 'a client that does not read is closed with 1013',
      async run(work) {
        const { stalled } = await broadcastPast(work, '64KB');
        const last = stalled.at(-1);
        const got = `A client did not read ${count} messages of 16 KB, with --max-buffered 64KB`;
        const isClosed = closeCodeOf(last) === 1013;
        assert.ok(
          isClosed,
          `${got}. The last frame that it got is ${inWords(last)}; it should be closed with 1013.`,
        );
        expectInOrder(stalled.slice(0, -1), got);
      },
    },
    {
      claim: 'the others get every message, in order',
      async run(work) {
        const { others, stalled } = await broadcastPast(work, '64KB');
        const isClosed = closeCodeOf(stalled.at(-1)) !== undefined;
        assert.ok(isClosed, 'The client that does not read was not closed, so this proves nothing yet.');
        for (const frames of others) {
          const situation = 'A client that reads was in a fan-out with one that does not';
          expectInOrder(frames, situation);
          assert.ok(frames.length === count, `${situation}. It got ${frames.length} of ${count} messages.`);
        }
      },
    },
    {
      claim: 'what waits for a closed client is dropped at once',
      async run(work) {
        const { queued } = await broadcastPast(work, '4MB');
        const got = `With --max-buffered 4MB, ${queued} bytes still wait for a client that does not read`;
        assert.ok(
          queued < 1024 * 1024,
          `${got}. It should be closed, and its queue dropped with clearQueue.`,
        );
      },
    },
    {
      claim: 'a client below the limit is late, but loses nothing',
      async run(work) {
        const { stalled } = await broadcastPast(work, '64MB');
        const situation = `A client read ${count} messages of 16 KB late, with --max-buffered 64MB`;
        expectInOrder(stalled, situation);
        assert.ok(stalled.length === count, `${situation}. It got ${stalled.length} messages.`);
      },
    },
  ],
};

/**
 * Broadcasts to two clients that read and, between them, one that does not before all is sent.
 * @returns the frames of each; those of `stalled` end with its close frame, if it got one. `queued` bytes waited for all clients
 *   before it read on
 */
async function broadcastPast(work: Work, maxBuffered: string) {
  const metrics = join(temporaryFolder(), 'metrics.sock');
  const { port } = await work.startServer(
    '--max-buffered',
    maxBuffered,
    '--metrics-listen',
    `unix:${metrics}`,
  );
  const connect = () => connectRaw(port, { path: '/broadcast' });
  const readers = [await connect()];
  const stalled = await connect();
  stalled.socket.pause();
  readers.push(await connect());
  const others: RawFrame[][] = readers.map(() => []);
  const batch = 8;
  for (let first = 0; first < count; first += batch) {
    const last = Math.min(first + batch, count);
    for (let number = first; number < last; number++) readers[0]!.send(messageOf(number));
    // A batch fits into the buffers of the system: nobody else is slow.
    for (const [index, reader] of readers.entries()) await readUpTo(reader, others[index]!, last);
  }
  const queued = await queuedBytes(metrics);
  stalled.socket.resume();
  const frames: RawFrame[] = [];
  await readUpTo(stalled, frames, count);
  for (const client of [stalled, ...readers]) client.destroy();
  return { others, stalled: frames, queued };
}

/** The unsent bytes of all connections, from the metrics at this Unix socket. */
async function queuedBytes(socketPath: string): Promise<number> {
  const [response] = await once(get({ socketPath, path: '/metrics' }), 'response');
  let text = '';
  for await (const piece of response.setEncoding('utf8')) text += piece;
  return Number(/^pollywog_queued_bytes (\d+)$/m.exec(text)?.[1]);
}

/** Reads until there are `wanted` frames, a close frame, or the end. */
async function readUpTo(client: RawClient, frames: RawFrame[], wanted: number): Promise<void> {
  while (frames.length < wanted && closeCodeOf(frames.at(-1)) === undefined) {
    const next = await client.nextFrame();
    if (next === undefined) return;
    frames.push(next);
  }
}

function messageOf(number: number): Buffer {
  return frame(opcode.text, String(number).padEnd(size, '.'));
}

function expectInOrder(frames: readonly RawFrame[], situation: string): void {
  for (const [index, got] of frames.entries()) {
    const isNext =
      got.payload.length === size && parseInt(got.payload.toString('latin1', 0, 8), 10) === index;
    assert.ok(
      isNext,
      `${situation}. After ${index} messages it got ${inWords(got)} instead of the next message.`,
    );
  }
}
