/** One well-behaved client: while it is answered, the server serves. */
import assert from 'node:assert/strict';
import { connectRaw, type RawClient } from './rawClient.ts';
import { frame, opcode } from './rawFrame.ts';

/** Sends one message to an echo and awaits it. */
export async function roundTrip(client: RawClient, text = 'probe'): Promise<void> {
  client.send(frame(opcode.text, text));
  const answer = await client.nextFrame();
  assert.equal(answer?.payload.toString(), text);
}

/** A new connection is made and served. */
export async function assertServes(port: number): Promise<void> {
  const client = await connectRaw(port, { path: '/echo' });
  await roundTrip(client);
  await client.end();
}

/**
 * Waits until `isSo`, and has the server go through its loop in between, so that all that came before is worked through.
 * No time is asked for: where it never comes to be, the test's own timeout says so.
 */
export async function until(client: RawClient, isSo: () => boolean): Promise<void> {
  while (!isSo()) await roundTrip(client);
}

/** Round trips after which a value that did not change is taken for one that does not change any more. */
const patience = 300;

/** Waits until `value` stands still while the server goes round. @returns it */
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
