/** Signals that end the server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { installSignalHandlers } from '../../src/process/signals.ts';

test('the same signal, repeated at once as by npm after Ctrl-C, counts once; a later one ends the process', t => {
  const own = new Map(
    (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map(signal => [signal, process.listeners(signal)]),
  );
  t.after(() => {
    for (const [signal, before] of own) {
      for (const one of process.listeners(signal))
        if (!before.includes(one)) process.off(signal, one as () => void);
    }
  });
  let now = 5000;
  t.mock.method(performance, 'now', () => now);
  const exit = t.mock.method(process, 'exit', (() => {}) as () => never);
  const drained: string[] = [];
  installSignalHandlers({
    isDraining: () => drained.length > 0,
    drain: signal => drained.push(signal),
    reload() {},
  });
  const handlers = process.listeners('SIGINT').filter(one => !own.get('SIGINT')?.includes(one));
  assert.equal(handlers.length, 1);
  const interrupt = () => handlers[0]!('SIGINT');
  interrupt();
  now += 5;
  interrupt();
  assert.deepEqual(drained, ['SIGINT']);
  assert.equal(exit.mock.callCount(), 0);
  now += 100;
  interrupt();
  assert.deepEqual(exit.mock.calls[0]?.arguments, [1]);
});
