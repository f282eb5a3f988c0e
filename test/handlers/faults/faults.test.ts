/** Where faults come from: the URL, the option and the command; and what tells of them. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { connectRaw, exchange, handshakeRequest, type RawClient } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor } from '../../support/serverProcess.ts';

const text = (words: string) => frame(opcode.text, words);

/** Opens a WebSocket that the test closes. */
async function open(t: TestContext, port: number, path: string): Promise<RawClient> {
  const client = await connectRaw(port, { path });
  t.after(() => client.destroy());
  return client;
}

test('a fault by URL acts after the first message, or after as many as the URL says', async t => {
  const { port } = await startServerFor(t, '--faults');
  for (const [query, count] of [
    ['reset', 1],
    ['after=3&reset', 3],
    ['reset&after=3', 3],
    ['fault=reset&after=0', 0],
  ] as const) {
    const client = await open(t, port, `/faulty?${query}`);
    client.send(...['a', 'b', 'c', 'd'].map(text));
    assert.equal((await client.remainingFrames()).length, count, query);
  }
});

test('without --faults, the handler faulty is not served', async t => {
  const { port } = await startServerFor(t);
  const answer = await exchange(port, handshakeRequest({ path: '/faulty?reset' }));
  assert.match(answer.toString(), /^HTTP\/1\.1 404 .*start it with --faults/s);
});
