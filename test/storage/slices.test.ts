/** However damaged or large a file is, it is read in slices of bounded work, and what holds no messages only once. */
import assert from 'node:assert/strict';
import { readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { historyReadSlice } from '../../src/protocol/limits.ts';
import { workUnits } from '../../src/protocol/workUnits.ts';
import { toLine } from '../../src/storage/message.ts';
import type { Store } from '../../src/storage/records.ts';
import { appendMessages, closeRoom, openRoom as openFile, recallRoom } from '../../src/storage/room.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { captureLog, countReads, message, openRoom, runToEnd, scratchStore, texts } from './scratch.ts';

const some = { messages: 100, bytes: 65_536 };
const MB = 1_000_000;

function filled(t: TestContext, ...parts: (string | [line: string, bytes: number])[]): Store {
  const store = scratchStore(t);
  const texts = parts.map(part =>
    typeof part === 'string' ? part : part[0].repeat(Math.ceil(part[1] / part[0].length)),
  );
  writeFileSync(join(store.directory, 'lobby.jsonl'), texts.join(''));
  return store;
}

function recalled(store: Store): string[] {
  const room = openRoom(store, 'lobby', some);
  closeRoom(room.file);
  return texts(room.messages);
}

const cutMessage = '{"time":"2030-01-02T03:04:05.678Z","uid":1,"nick":"x","text":"cut}\n';
const nested = `{"text":${'['.repeat(3000)}}\n`;
const kinds: readonly [string, line: string, bytes: number][] = [
  ['short lines that are no JSON', 'garbage\n', 4 * MB],
  ['empty lines', '\n', MB],
  ['lines of NULs', `${'\0'.repeat(512)}\n`, 16 * MB],
  ['messages that are cut', cutMessage, 2 * MB],
  ['objects that never end', nested, MB],
  ['messages that are not to be remembered', `${'{"text":1}'}\n`, 4 * MB],
];
for (const [what, line, bytes] of kinds) {
  test(`${what}, ${bytes / MB} MB of them: read in slices, once, and what is before them is found`, t => {
    const logged = captureLog(t);
    const store = filled(t, toLine(message('before')), [line, bytes], toLine(message('after')));
    const file = openFile(store, 'lobby');
    const slices = recallRoom(file, some);
    const most = 2 * historyReadSlice + nested.length;
    let count = 0;
    for (let isDone = false; !isDone; count++) {
      const before = workUnits.spent;
      const { done, value } = slices.next();
      assert.ok(workUnits.spent - before <= most, `${workUnits.spent - before} units in slice ${count}`);
      isDone = done === true;
      if (done) assert.deepEqual(texts(value), ['before', 'after']);
    }
    assert.ok(count > 10, `${count} slices`);
    closeRoom(file);
    assert.equal(logged.filter(entry => entry.includes('lines skipped')).length, 1);
    const reads = countReads(t);
    assert.deepEqual(recalled(store), ['before', 'after']);
    assert.ok(reads.total < 4 * 65_536, `${reads.total} bytes were read again`);
    assert.equal(logged.length, 1, 'nor is it in the log again');
  });
}

test('between two slices no descriptor is open but the one to append by', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const store = filled(t, ['garbage\n', MB]);
  const before = readdirSync('/proc/self/fd').length;
  const file = openFile(store, 'lobby');
  const slices = recallRoom(file, some);
  for (let i = 0; i < 5; i++) {
    assert.ok(!slices.next().done);
    assert.equal(readdirSync('/proc/self/fd').length, before + 1);
  }
  slices.return([]);
  closeRoom(file);
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

test('what a reading found before it was given up is known to the next one', t => {
  captureLog(t);
  const store = filled(t, ['garbage\n', 4 * MB]);
  const count = () => {
    const file = openFile(store, 'lobby');
    const slices = recallRoom(file, some);
    let done = 0;
    while (done < 40 && !slices.next().done) done++;
    slices.return([]);
    closeRoom(file);
    return done;
  };
  let readings = 1;
  while (readings < 100 && count() === 40) readings++;
  assert.ok(readings > 2 && readings < 40, `${readings} readings of 40 slices`);
});

test('what is known of a damaged file stays true when messages are added and when it is rotated', t => {
  captureLog(t);
  const store = scratchStore(t, { rotateAt: 5 * MB });
  const path = join(store.directory, 'lobby.jsonl');
  writeFileSync(path, 'garbage\n'.repeat(500_000));
  assert.deepEqual(recalled(store), []);
  const { file } = openRoom(store, 'lobby', some);
  appendMessages(file, [message('one')]);
  closeRoom(file);
  const reads = countReads(t);
  assert.deepEqual(recalled(store), ['one']);
  const again = openRoom(store, 'lobby', some).file;
  for (let i = 0; i < 20; i++) appendMessages(again, [message('x'.repeat(60_000))]);
  closeRoom(again);
  assert.ok(statSync(join(store.directory, 'lobby.1.jsonl')).size > 4 * MB);
  const { messages } = (() => {
    const room = openRoom(store, 'lobby', { messages: 100, bytes: 10 * MB });
    closeRoom(room.file);
    return room;
  })();
  assert.equal(messages.length, 21);
  assert.equal(messages[0]?.text, 'one');
  assert.ok(reads.total < 3 * MB, `${reads.total} bytes were read`);
});

test('a damaged file that another program repairs is read again', t => {
  captureLog(t);
  const store = filled(t, ['garbage\n', MB]);
  const path = join(store.directory, 'lobby.jsonl');
  assert.deepEqual(recalled(store), []);
  writeFileSync(path, `${toLine(message('repaired'))}${'garbage\n'.repeat(100)}`);
  assert.deepEqual(recalled(store), ['repaired']);
  // In place, of the same length.
  const { size } = statSync(path);
  const line = toLine(message('other'));
  writeFileSync(path, `${line}${'x'.repeat(size - line.length - 1)}\n`, { flag: 'r+' });
  utimesSync(path, 1, 1);
  assert.deepEqual(recalled(store), ['other']);
});

test('a torn line of many megabytes is looked for in slices, and cut off unless something was added meanwhile', t => {
  captureLog(t);
  for (const isAdded of [false, true]) {
    const store = filled(t, toLine(message('before')), ['\0', 16 * MB]);
    const file = openFile(store, 'lobby');
    const slices = recallRoom(file, some);
    assert.ok(!slices.next().done);
    if (isAdded) appendMessages(file, [message('added')]);
    assert.deepEqual(texts(runToEnd(slices)), ['before']);
    closeRoom(file);
    const whole = statSync(file.path).size;
    assert.ok(isAdded ? whole > 16 * MB : whole < 1000, `${whole} bytes are left`);
    const now = openRoom(store, 'lobby', some);
    closeRoom(now.file);
    assert.equal(now.messages.at(-1)?.text, isAdded ? 'added' : 'before');
  }
});
