import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { newMemoryUse } from '../../src/core/memory.ts';
import {
  forgetOldest,
  historyMemory,
  isEmptyHistory,
  newHistory,
  remember,
  remembered,
} from '../../src/handlers/chat/history.ts';
import { maxHistoryBytes, maxHistoryMessages } from '../../src/protocol/limits.ts';

const texts = (history: ReturnType<typeof newHistory>) =>
  [...remembered(history)].map(({ line }) => String(line));

test('it remembers the last messages, oldest first', () => {
  const history = newHistory({ messages: 3, bytes: 1000 });
  assert.ok(isEmptyHistory(history));
  for (const text of ['a', 'b', 'c', 'd', 'e']) remember(history, Buffer.from(text), 1);
  assert.deepEqual(texts(history), ['c', 'd', 'e']);
  assert.ok(!isEmptyHistory(history));
});

test('a message that does not fit by itself is not remembered, nor what was before it', () => {
  const history = newHistory({ messages: 3, bytes: 4 });
  remember(history, Buffer.from('ab'), 1);
  remember(history, Buffer.from('12345'), 1);
  assert.deepEqual(texts(history), []);
  assert.ok(isEmptyHistory(history));
  remember(history, Buffer.from('cd'), 1);
  assert.deepEqual(texts(history), ['cd']);
});

test('with 0 messages it remembers nothing', () => {
  const history = newHistory({ messages: 0, bytes: 1000 });
  remember(history, Buffer.from('a'), 1);
  assert.ok(isEmptyHistory(history));
});

test('whatever it is told to remember, there is a bound in bytes', () => {
  const history = newHistory({ messages: 1_000_000, bytes: Number.POSITIVE_INFINITY });
  const line = Buffer.alloc(65_536);
  for (let i = 0; i < 40; i++) remember(history, line, 1);
  assert.equal(texts(history).length, maxHistoryBytes / line.length);
});

test('however short the messages are, there is a bound of their number', () => {
  const history = newHistory({ messages: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY });
  for (let i = 0; i < maxHistoryMessages + 7; i++) remember(history, Buffer.from('x'), 1);
  assert.equal(texts(history).length, maxHistoryMessages);
});

test('it is a window of the last messages, whatever was said', () => {
  const sizes = fc.array(fc.nat({ max: 12 }), { maxLength: 200 });
  fc.assert(
    fc.property(fc.nat({ max: 10 }), fc.nat({ max: 40 }), sizes, (messages, bytes, lengths) => {
      const history = newHistory({ messages, bytes });
      const all: string[] = [];
      for (const [i, length] of lengths.entries()) {
        const text = String.fromCharCode(97 + (i % 26)).repeat(length);
        all.push(text);
        remember(history, Buffer.from(text), 1);
        const kept = texts(history);
        assert.ok(kept.length <= messages);
        assert.deepEqual(kept, all.slice(all.length - kept.length));
        assert.ok(kept.join('').length <= bytes);
        // No more is forgotten than has to be, and what is forgotten does not pile up.
        const oneMore = all.slice(all.length - kept.length - 1);
        if (kept.length < all.length) {
          assert.ok(
            kept.length === messages ||
              oneMore.join('').length > bytes ||
              messages === 0 ||
              kept.length === 0 ||
              wasCut(all, kept, bytes),
          );
        }
        assert.ok(history.lines.length <= 2 * messages + 2);
      }
    }),
    { seed: 6455 },
  );
});

/** A message that filled the bound forgot those before it, and they do not come back. */
function wasCut(all: readonly string[], kept: readonly string[], bytes: number): boolean {
  for (let end = all.length; end > all.length - kept.length; end--) {
    if (all.slice(all.length - kept.length - 1, end).join('').length > bytes) return true;
  }
  return false;
}

test('what it remembers is counted, and forgetting takes it off again', () => {
  const memory = newMemoryUse();
  const history = newHistory({ messages: 5, bytes: 1000 }, memory);
  for (let i = 0; i < 20; i++) remember(history, Buffer.from('text'), 0);
  assert.equal(memory.histories, historyMemory(history));
  assert.ok(memory.histories > 5 * 4);
  forgetOldest(history);
  assert.deepEqual(texts(history), ['text', 'text']);
  assert.equal(memory.histories, historyMemory(history));
  forgetOldest(history, true);
  assert.deepEqual([isEmptyHistory(history), memory.histories], [true, 0]);
});
