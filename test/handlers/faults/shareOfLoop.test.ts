import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInShare } from '../../../src/handlers/faults/shareOfLoop.ts';

test('much work of faults runs in order, and other work of the loop between it', async () => {
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
