/** The files of older versions, one for each room, become a log once. */
import assert from 'node:assert/strict';
import fs, { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { channelMemory } from '../../../src/storage/log/load.ts';
import type { LogRecord } from '../../../src/storage/log/records.ts';
import { captureLog, scratchDirectory } from '../scratch.ts';
import { numbered, numbersOf, openScratchLog } from './scratchLog.ts';

const start = Date.parse('2020-01-01T00:00:00.000Z');

/** A line as older versions wrote it. */
function roomLine(minute: number, text: string): string {
  const time = new Date(start + minute * 60_000).toISOString();
  return `${JSON.stringify({ time, uid: 7, nick: 'Zoë', text })}\n`;
}

function roomFolder(): string {
  const directory = scratchDirectory();
  writeFileSync(join(directory, 'lobby.1.jsonl'), roomLine(1, 'lobby 1') + roomLine(4, 'lobby 4'));
  writeFileSync(join(directory, 'lobby.2.jsonl'), `${roomLine(5, 'lobby 5')}damaged\n`);
  writeFileSync(join(directory, 'lobby.jsonl'), `${roomLine(8, 'lobby 8')}{"time":"2020-`);
  writeFileSync(join(directory, 'a%20%C3%BC.jsonl'), roomLine(2, 'ü 2') + roomLine(6, 'ü 6'));
  writeFileSync(join(directory, 'messages.jsonl'), roomLine(3, 'messages 3') + roomLine(7, 'messages 7'));
  writeFileSync(join(directory, 'notes.txt'), 'mine');
  return directory;
}

const textsOf = (records: readonly LogRecord[]) =>
  records.map(record => ('isForget' in record ? 'forget' : record.data.toString()));

const merged = ['lobby 1', 'ü 2', 'messages 3', 'lobby 4', 'lobby 5', 'ü 6', 'messages 7', 'lobby 8'];

test("rooms' files are merged by time into the log, with numbers, and left in place", t => {
  const logged = captureLog(t);
  const directory = roomFolder();
  const lobby = readFileSync(join(directory, 'lobby.jsonl'), 'utf8');
  const log = openScratchLog(t, { directory });
  assert.deepEqual(textsOf(log.records), merged);
  assert.deepEqual(numbersOf(log.records), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual([log.lastSeq, log.unreadSeq], [8, 0]);
  const [, second] = log.records;
  assert.deepEqual(
    { ...second },
    {
      ...{ seq: 2, time: start + 120_000, channel: 'a ü', kind: 'text', data: Buffer.from('ü 2') },
      ...{ from: 'Zoë', uid: 7, event: undefined, expiresAt: undefined },
      ...{ key: undefined, publisher: undefined, subscribers: undefined },
    },
  );
  assert.equal(readFileSync(join(directory, 'lobby.jsonl'), 'utf8'), lobby);
  assert.ok(
    logged.some(line => /rooms imported .*rooms=3 messages=8/.test(line)),
    logged.join(''),
  );
  assert.ok(logged.some(line => line.includes('lines skipped')));
});

test('messages of a room keep their order, even if the clock went back while it was written', t => {
  captureLog(t);
  const directory = scratchDirectory();
  const pond = [roomLine(5, 'pond 5'), roomLine(2, 'pond 2'), roomLine(6, 'pond 6')];
  writeFileSync(join(directory, 'pond.jsonl'), pond.join(''));
  writeFileSync(join(directory, 'lake.jsonl'), roomLine(3, 'lake 3') + roomLine(7, 'lake 7'));
  const log = openScratchLog(t, { directory });
  assert.deepEqual(textsOf(log.records), ['lake 3', 'pond 5', 'pond 2', 'pond 6', 'lake 7']);
});

test('they are imported once, whatever is added to them later', t => {
  captureLog(t);
  const directory = roomFolder();
  const log = openScratchLog(t, { directory });
  log.log.append(numbered(1, 9));
  log.log.close();
  writeFileSync(join(directory, 'lobby.jsonl'), roomLine(9, 'later'), { flag: 'a' });
  const again = openScratchLog(t, { directory });
  assert.equal(again.log.epoch, log.log.epoch);
  assert.deepEqual(textsOf(again.records), [...merged, 'message 9']);
});

test('each room brings what the bounds keep', t => {
  captureLog(t);
  const directory = roomFolder();
  const log = openScratchLog(t, { directory, bounds: { messages: 1 } });
  assert.deepEqual(textsOf(log.records), ['ü 6', 'messages 7', 'lobby 8']);
  const small = openScratchLog(t, { directory: roomFolder(), bounds: { memory: 600 + 2 * channelMemory } });
  assert.deepEqual(textsOf(small.records), ['messages 7', 'lobby 8']);
});

test('a file whose name does not contain the whole name of its room is logged and left', t => {
  const logged = captureLog(t);
  const directory = scratchDirectory();
  writeFileSync(join(directory, `%E6${'a'.repeat(60)}~0123.jsonl`), roomLine(1, 'x'));
  writeFileSync(join(directory, 'lobby.jsonl'), roomLine(1, 'y'));
  assert.deepEqual(textsOf(openScratchLog(t, { directory }).records), ['y']);
  assert.ok(logged.some(line => line.includes("does not contain the room's name")));
});

test('a kill at any step of the import leaves a folder that the next start imports completely, once', t => {
  captureLog(t);
  const steps = [
    'renameSync',
    'openSync',
    'writeSync',
    'unlinkSync',
    'fdatasyncSync',
    'ftruncateSync',
  ] as const;
  for (let step = 1, isDone = false; !isDone; step++) {
    assert.ok(step < 200);
    const directory = roomFolder();
    let count = 0;
    for (const name of steps) {
      const real = fs[name] as (...parameters: unknown[]) => unknown;
      t.mock.method(fs, name, (...parameters: unknown[]) => {
        if (++count >= step) throw Object.assign(new Error('killed'), { code: 'EKILLED' });
        return real(...parameters);
      });
    }
    syncBuiltinESMExports();
    try {
      openScratchLog(t, { directory, fsync: 'always' });
      isDone = count < step;
    } catch {
      // The next start finds what the killed one left.
    }
    for (const name of steps) (fs[name] as unknown as { mock: { restore(): void } }).mock.restore();
    syncBuiltinESMExports();
    const again = openScratchLog(t, { directory, fsync: 'always' });
    // A kill during the import leaves nothing of it. Where reading a file failed, its messages are missing.
    const texts = textsOf(again.records);
    assert.ok(texts.length === merged.length || count >= step, `step ${step}: ${texts}`);
    assert.equal(new Set(texts).size, texts.length, `step ${step}: ${texts}`);
    again.log.close();
    assert.deepEqual(
      readdirSync(directory).filter(name => /\.(new|import|purge)$/.test(name)),
      [],
    );
  }
});
