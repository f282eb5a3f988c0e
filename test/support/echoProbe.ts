/** A well-behaved client: its round trips prove that the server serves others. */
import assert from 'node:assert/strict';
import { connectRaw, type RawClient } from './rawClient.ts';
import { frame, opcode } from './rawFrame.ts';

/** Sends a message to the echo handler and waits for the echo. Answers heartbeats, which are due on a slow machine. */
export async function roundTrip(client: RawClient, text = 'probe'): Promise<void> {
  client.send(frame(opcode.text, text));
  let answer = await client.nextFrame();
  for (; answer?.opcode === opcode.ping; answer = await client.nextFrame())
    client.send(frame(opcode.pong, answer.payload));
  assert.equal(answer?.payload.toString(), text);
}

/** Makes a new connection and a round trip on it. */
export async function assertServes(port: number): Promise<void> {
  const client = await connectRaw(port, { path: '/echo' });
  await roundTrip(client);
  await client.end();
}

/** Makes round trips until `isSo`, so that the server goes through its loop. The test's timeout is the only limit. */
export async function until(client: RawClient, isSo: () => boolean): Promise<void> {
  while (!isSo()) await roundTrip(client);
}

/** Round trips without a change after which `untilStill` takes a value as final. */
const patience = 300;

/** Makes round trips until `value` no longer changes. @returns the value */
export async function untilStill(client: RawClient, value: () => number): Promise<number> {
  let last = value();
  for (let round = 0; round < patience; round++) {
    await roundTrip(client);
    const now = value();
    if (now === last) continue;
    last = now;
    round = 0;
  }
  return last;
}
