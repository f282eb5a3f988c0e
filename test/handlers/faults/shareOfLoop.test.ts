import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInShare } from '../../../src/handlers/faults/shareOfLoop.ts';

test('the work of faults runs in order, and lets other work of the event loop run in between', async () => {
  const order: string[] = [];
  const pieces = 80;
  const busy = (at: number) => {
    const end = performance.now() + 0.5;
    while (performance.now() < end);
    order.push(`fault ${at}`);
  };
  await new Promise<void>(resolve => {
    for (let at = 0; at < pieces; at++) {
      runInShare(() => {
        busy(at);
        if (at === pieces - 1) resolve();
      });
    }
    const others = () => {
      order.push('other');
      if (order.length < 2 * pieces) setImmediate(others);
    };
    setImmediate(others);
  });
  const faults = order.filter(one => one !== 'other');
  assert.deepEqual(
    faults,
    Array.from({ length: pieces }, (_, at) => `fault ${at}`),
  );
  assert.ok(order.lastIndexOf('fault 79') > order.indexOf('other'));
  assert.ok(order.indexOf('other') < 20, order.join());
});

test('the work of a fault does not wait for another event', { timeout: 60_000 }, async () => {
  // No other event is due for days, except those of the test runner.
  const far = setTimeout(() => {}, 2 ** 30);
  for (let step = 0; step < 50; step++) {
    await new Promise<void>(resolve => {
      setTimeout(() => runInShare(resolve), 1).unref();
    });
  }
  clearTimeout(far);
});
