/** A network that loses every tenth response: no message is lost or duplicated. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startLossyProxy } from '../../support/lossyProxy.ts';
import {
  type Answer,
  ask,
  openPolled,
  openStream,
  type Polled,
  type Sending,
} from '../../support/pollClient.ts';
import { newRandom } from '../../support/random.ts';
import { startServerFor } from '../../support/serverProcess.ts';

const total = 10_000;
const messages = Array.from({ length: total }, (_, number) => `message ${number}`);

/** Repeats the request until a whole answer arrives. */
async function insist(port: number, method: string, path: string, sending?: Sending): Promise<Answer> {
  for (;;) {
    const answer = await ask(port, method, path, sending).catch(() => undefined);
    if (answer === undefined || !answer.isWhole) continue;
    assert.equal(answer.status, 200, answer.body);
    return answer;
  }
}

/** Posts all messages, a few in each request. */
async function sayAll(port: number, session: string, below: (bound: number) => number): Promise<void> {
  for (let at = 0; at < total; ) {
    const some = messages.slice(at, at + 1 + below(16));
    const body = some.map(text => `${JSON.stringify({ text })}\n`).join('');
    const headers = { 'Content-Type': 'application/x-ndjson' };
    const answer = await insist(port, 'POST', `${session}?seq=${at + 1}`, { headers, body });
    at += some.length;
    assert.equal(answer.body, `{"seq":${at}}\n`);
  }
}

/** Fetches messages, and skips those that have arrived before. */
function newReceiver() {
  const heard: string[] = [];
  return {
    heard,
    take({ seq, text }: Polled['messages'][number]) {
      if (seq <= heard.length) return;
      assert.equal(seq, heard.length + 1);
      heard.push(text!);
    },
  };
}

describe(`${total} messages arrive exactly once in both directions, with every tenth response lost,`, {
  timeout: 240_000,
}, () => {
  test('by long polling', async t => {
    const server = await startServerFor(t);
    const random = newRandom(1);
    const proxy = await startLossyProxy(server.port, random, 0);
    t.after(() => proxy.close());
    const session = await openPolled(server.port, 'echo');
    const { heard, take } = newReceiver();
    const hearAll = async () => {
      while (heard.length < total) {
        const { body } = await insist(proxy.port, 'GET', `${session}?ack=${heard.length}`);
        (JSON.parse(body) as Polled).messages.forEach(take);
      }
    };
    await Promise.all([sayAll(proxy.port, session, random.below), hearAll()]);
    assert.deepEqual(heard, messages);
    t.diagnostic(JSON.stringify(proxy.counts));
    assert.ok(proxy.counts.broken > 50);
  });

  test('by event streams that break off', async t => {
    const server = await startServerFor(t);
    const random = newRandom(2);
    const proxy = await startLossyProxy(server.port, random, 20_000);
    t.after(() => proxy.close());
    const session = await openPolled(server.port, 'echo');
    const { heard, take } = newReceiver();
    const hearAll = async () => {
      while (heard.length < total) {
        const stream = await openStream(proxy.port, session, { 'Last-Event-ID': `${heard.length}` });
        // Resolves at the end or the loss of the stream.
        await stream.ended.catch(() => {});
        stream.socket.destroy();
        const [, ...events] = stream.text().split('\n\n');
        // An event without its end is discarded.
        for (const event of events.slice(0, -1)) {
          const data = /^id: (\d+)\ndata: (.*)$/.exec(event);
          if (data !== null) take(JSON.parse(data[2]!));
        }
      }
    };
    const hearing = hearAll();
    await sayAll(proxy.port, session, random.below);
    // The last stream may not have been cut yet.
    await insist(server.port, 'POST', session, { body: 'x'.repeat(40_000) });
    await hearing;
    assert.deepEqual(heard.slice(0, total), messages);
    t.diagnostic(JSON.stringify(proxy.counts));
    assert.ok(proxy.counts.broken > 50);
  });
});
