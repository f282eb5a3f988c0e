import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  appendToHistory,
  clearHistory,
  forgetOlderHalf,
  historyEntries,
  historyMemory,
  isHistoryEmpty,
  newHistory,
} from '../../../src/handlers/chat/history.ts';
import { maxHistoryBytes, maxHistoryMessages } from '../../../src/protocol/limits.ts';

const texts = (history: ReturnType<typeof newHistory>) =>
  [...historyEntries(history)].map(({ line }) => String(line));

test('a history has the last messages, oldest first', () => {
  const history = newHistory({ messages: 3, bytes: 1000 }, { histories: 0 });
  assert.ok(isHistoryEmpty(history));
  for (const text of ['a', 'b', 'c', 'd', 'e']) appendToHistory(history, Buffer.from(text), 1);
  assert.deepEqual(texts(history), ['c', 'd', 'e']);
  assert.ok(!isHistoryEmpty(history));
});

test('a message larger than the bound empties the history', () => {
  const history = newHistory({ messages: 3, bytes: 4 }, { histories: 0 });
  appendToHistory(history, Buffer.from('ab'), 1);
  appendToHistory(history, Buffer.from('12345'), 1);
  assert.deepEqual(texts(history), []);
  assert.ok(isHistoryEmpty(history));
  appendToHistory(history, Buffer.from('cd'), 1);
  assert.deepEqual(texts(history), ['cd']);
});

test('a bound of 0 messages keeps nothing', () => {
  const history = newHistory({ messages: 0, bytes: 1000 }, { histories: 0 });
  appendToHistory(history, Buffer.from('a'), 1);
  assert.ok(isHistoryEmpty(history));
});

test('the bytes are limited even if the bound is larger', () => {
  const history = newHistory({ messages: 1_000_000, bytes: Number.POSITIVE_INFINITY }, { histories: 0 });
  const line = Buffer.alloc(65_536);
  for (let i = 0; i < 40; i++) appendToHistory(history, line, 1);
  assert.equal(texts(history).length, maxHistoryBytes / line.length);
});

test('the number of messages is limited even if the bound is larger', () => {
  const history = newHistory(
    { messages: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY },
    { histories: 0 },
  );
  for (let i = 0; i < maxHistoryMessages + 7; i++) appendToHistory(history, Buffer.from('x'), 1);
  assert.equal(texts(history).length, maxHistoryMessages);
});

test('a history is a window of the last messages, whatever they are', () => {
  const sizes = fc.array(fc.nat({ max: 12 }), { maxLength: 200 });
  fc.assert(
    fc.property(fc.nat({ max: 10 }), fc.nat({ max: 40 }), sizes, (messages, bytes, lengths) => {
      const history = newHistory({ messages, bytes }, { histories: 0 });
      const all: string[] = [];
      for (const [i, length] of lengths.entries()) {
        const text = String.fromCharCode(97 + (i % 26)).repeat(length);
        all.push(text);
        appendToHistory(history, Buffer.from(text), 1);
        const kept = texts(history);
        assert.ok(kept.length <= messages);
        assert.deepEqual(kept, all.slice(all.length - kept.length));
        assert.ok(kept.join('').length <= bytes);
        // Forgets no more than necessary, and compacts forgotten entries.
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
        assert.ok(history.entries.length <= 2 * messages + 2);
      }
    }),
    { seed: 6455 },
  );
});

/** A message that filled the bound removed all earlier ones for good. */
function wasCut(all: readonly string[], kept: readonly string[], bytes: number): boolean {
  for (let end = all.length; end > all.length - kept.length; end--) {
    if (all.slice(all.length - kept.length - 1, end).join('').length > bytes) return true;
  }
  return false;
}

test('memory is counted when entries are added and released when they are forgotten', () => {
  const memory = { histories: 0 };
  const history = newHistory({ messages: 5, bytes: 1000 }, memory);
  for (let i = 0; i < 20; i++) appendToHistory(history, Buffer.from('text'), 0);
  assert.equal(memory.histories, historyMemory(history));
  assert.ok(memory.histories > 5 * 4);
  forgetOlderHalf(history);
  assert.deepEqual(texts(history), ['text', 'text']);
  assert.equal(memory.histories, historyMemory(history));
  clearHistory(history);
  assert.deepEqual([isHistoryEmpty(history), memory.histories], [true, 0]);
});
