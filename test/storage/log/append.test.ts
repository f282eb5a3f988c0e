/** What is in the segments after appends, and what a disk that fails leaves there. */
import assert from 'node:assert/strict';
import { copyFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { realDisk } from '../../../src/storage/disk.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { captureLog, diskWith, systemError } from '../scratch.ts';
import {
  fileContent,
  forget,
  numbered,
  numbersOf,
  openScratchLog,
  recordLines,
  said,
  time,
  upTo,
} from './scratchLog.ts';

test('each record is one line of JSON with its id, its time, its channel, and what it has', t => {
  captureLog(t);
  const log = openScratchLog(t);
  const { epoch } = log.log;
  const full = said(2, 'paid', {
    ...{
      from: 'Zoë',
      uid: 7,
      event: 'order',
      expiresAt: time + 1000,
      key: 'k1',
      publisher: 'p',
      subscribers: 3,
    },
  });
  log.log.append([
    said(1, 'hello'),
    full,
    said(3, '[1,\n12345678901234567890]', { kind: 'json' }),
    said(4, '\0ÿ', { kind: 'bytes' }),
    forget(5, 'a/b'),
  ]);
  const iso = '2030-01-02T03:04:05.678Z';
  assert.deepEqual(recordLines(log).slice(0, 2), [
    { id: `${epoch}-1`, time: iso, channel: 'pond', text: 'hello' },
    {
      ...{ id: `${epoch}-2`, time: iso, channel: 'pond', from: 'Zoë', uid: 7, event: 'order' },
      ...{ expires: '2030-01-02T03:04:06.678Z', key: 'k1', publisher: 'p', subscribers: 3, text: 'paid' },
    },
  ]);
  const lines = fileContent(log).split('\n');
  assert.match(lines[0]!, /^\{"epoch":"[0-9a-z]+","next":1,/);
  assert.match(lines[3]!, /"data":\[1, 12345678901234567890\]\}$/);
  assert.match(lines[4]!, /"base64":"AMO\/"\}$/);
  assert.match(lines[5]!, /"channel":"a\/b","forget":true\}$/);
});

test('a restart gives back every kind of record as it was appended', t => {
  captureLog(t);
  const log = openScratchLog(t);
  const records = [
    said(1, 'with "quotes", \\, \u0000\u001b[31m\u007f\u0085\u2028 and 🐸', { channel: 'a "b"/ü\u0085' }),
    said(2, '{"text":"x","data":{"forget":true},"n":1.50}', { kind: 'json', from: '"data":1', uid: 0 }),
    said(3, '\u00ff\u0000', { kind: 'bytes', event: ',"data":', key: 'k', publisher: 'p', subscribers: 0 }),
    said(4, '', { expiresAt: time }),
    said(5, 'x\u007f\u0080\u009f\u00a0\u2027\u2028\u2029\u202aé🐸'.repeat(3000)),
  ];
  log.log.append(records);
  assert.ok(!/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]/.test(fileContent(log)));
  log.log.close();
  const again = openScratchLog(t, log);
  const defined = again.records.map(record => JSON.parse(JSON.stringify(record)));
  assert.deepEqual(
    defined,
    records.map(record => JSON.parse(JSON.stringify(record))),
  );
  assert.equal(again.log.epoch, log.log.epoch);
  assert.equal(again.lastSeq, 5);
  assert.equal(again.unreadSeq, 0);
});

test('one append is one write', t => {
  captureLog(t);
  let writes = 0;
  const disk = diskWith({
    write(descriptor, bytes) {
      writes++;
      return realDisk.write(descriptor, bytes);
    },
  });
  const log = openScratchLog(t, { disk });
  writes = 0;
  log.log.append(numbered(1000, 1));
  log.log.append([]);
  assert.equal(writes, 1);
});

test('an append that fails half-way leaves none of its messages in the log, and the next one works', t => {
  captureLog(t);
  let room = Number.POSITIVE_INFINITY;
  let isTruncating = true;
  const disk = diskWith({
    write(descriptor, bytes) {
      if (room <= 0) throw systemError('ENOSPC');
      const written = realDisk.write(descriptor, bytes.subarray(0, room));
      room -= written;
      return written;
    },
    truncate(descriptor, size) {
      if (!isTruncating) throw systemError('EIO');
      realDisk.truncate(descriptor, size);
    },
  });
  const log = openScratchLog(t, { disk });
  log.log.append(numbered(3, 1));
  const before = fileContent(log);
  room = 50;
  assert.throws(() => log.log.append(numbered(3, 4)), /cannot append to .*messages.jsonl: the disk is full/);
  assert.equal(fileContent(log), before);
  isTruncating = false;
  room = 50;
  assert.throws(() => log.log.append(numbered(3, 4)));
  assert.notEqual(fileContent(log), before);
  isTruncating = true;
  room = Number.POSITIVE_INFINITY;
  log.log.append(numbered(3, 7));
  log.log.close();
  assert.deepEqual(numbersOf(openScratchLog(t, log).records), [1, 2, 3, 7, 8, 9]);
});

test('an append that cannot be synced is undone, and its number may be used again', t => {
  captureLog(t);
  let isFailing = false;
  const disk = diskWith({
    sync(path) {
      if (isFailing) throw systemError('EIO');
      realDisk.sync(path);
    },
  });
  const log = openScratchLog(t, { disk, fsync: 'always' });
  log.log.append(numbered(2, 1));
  log.log.sync();
  const before = fileContent(log);
  isFailing = true;
  log.log.append(numbered(2, 3));
  assert.throws(() => log.log.sync(), /cannot sync .*: the disk reports an I\/O error/);
  assert.equal(fileContent(log), before);
  isFailing = false;
  log.log.append(numbered(2, 3));
  log.log.sync();
  log.log.close();
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), [1, 2, 3, 4]);
  assert.equal(again.unreadSeq, 0);
});

test('a full segment gets a number, the oldest are removed, and the number of descriptors does not change', t => {
  if (skipUnlessLinux(t, '/proc')) return;
  captureLog(t);
  const log = openScratchLog(t, { rotateAt: 1000, keep: 3 });
  const before = readdirSync('/proc/self/fd').length;
  for (let seq = 1; seq <= 100; seq++) log.log.append([said(seq, 'x'.repeat(100), { channel: `c${seq}` })]);
  assert.equal(readdirSync('/proc/self/fd').length, before);
  const names = readdirSync(log.directory).sort();
  assert.equal(names.length, 4);
  assert.ok(names.includes('messages.jsonl'));
  for (const name of names) {
    assert.ok(statSync(join(log.directory, name)).size <= 1000 + 150, name);
    assert.match(fileContent(log, name), /^\{"epoch":/);
  }
  log.log.close();
  const again = openScratchLog(t, log);
  const numbers = numbersOf(again.records);
  assert.deepEqual(numbers, upTo(100, numbers[0]));
  assert.equal(again.unreadSeq, numbers[0]! - 1);
});

test('a segment is rotated when it is older than the age, and removed when its newest message is', t => {
  captureLog(t);
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const log = openScratchLog(t, { bounds: { age: 60_000 }, rotateAt: 10_000 });
  const appendAt = (seq: number, wait: number) => {
    t.mock.timers.tick(wait);
    log.log.append([said(seq, 'x', { time: Date.now() })]);
    utimesSync(join(log.directory, 'messages.jsonl'), Date.now() / 1000, Date.now() / 1000);
  };
  appendAt(1, 0);
  appendAt(2, 40_000);
  appendAt(3, 40_000);
  assert.deepEqual(readdirSync(log.directory).sort(), ['messages.1.jsonl', 'messages.jsonl']);
  appendAt(4, 61_000);
  assert.deepEqual(readdirSync(log.directory), ['messages.jsonl']);
  assert.deepEqual(
    recordLines(log).map(({ id }) => id),
    [`${log.log.epoch}-4`],
  );
});

test('a segment that somebody deleted is begun again, and a folder that is gone is an error until it is back', t => {
  captureLog(t);
  const log = openScratchLog(t);
  log.log.append(numbered(1, 1));
  rmSync(join(log.directory, 'messages.jsonl'));
  log.log.append(numbered(1, 2));
  assert.match(fileContent(log), /^\{"epoch":"[0-9a-z]+","next":2,/);
  assert.deepEqual(
    recordLines(log).map(({ id }) => id),
    [`${log.log.epoch}-2`],
  );
  renameSync(log.directory, `${log.directory}.away`);
  rmSync(`${log.directory}.away`, { recursive: true });
  assert.throws(
    () => log.log.append(numbered(1, 3)),
    /cannot append to .*: the directory is gone; create it again/,
  );
});

test('a segment that somebody renamed or replaced gets no more messages, because a restart would not find them', t => {
  captureLog(t);
  const log = openScratchLog(t);
  const path = join(log.directory, 'messages.jsonl');
  log.log.append(numbered(1, 1));
  renameSync(path, join(log.directory, 'away'));
  log.log.append(numbered(1, 2));
  copyFileSync(path, join(log.directory, 'copy'));
  renameSync(join(log.directory, 'copy'), path);
  log.log.append(numbered(1, 3));
  log.log.close();
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), [2, 3]);
  assert.equal(again.log.epoch, log.log.epoch);
  writeFileSync(join(log.directory, 'other'), '{"epoch":"other","next":1}\ncut off');
  renameSync(join(log.directory, 'other'), path);
  again.log.append(numbered(1, 4));
  again.log.close();
  assert.deepEqual(numbersOf(openScratchLog(t, log).records), [4]);
});

test('after somebody shortens or replaces the segment, no cursor before the next message counts as complete', t => {
  const logged = captureLog(t);
  for (const change of ['shorten', 'replace'] as const) {
    let isFull = false;
    const disk = diskWith({
      write(descriptor, bytes) {
        if (isFull) throw systemError('ENOSPC');
        return realDisk.write(descriptor, bytes);
      },
    });
    const log = openScratchLog(t, { disk });
    const path = join(log.directory, 'messages.jsonl');
    log.log.append(numbered(4, 1));
    const kept = fileContent(log).split('\n').slice(0, 3).join('\n');
    writeFileSync(change === 'replace' ? `${path}.edited` : path, `${kept}\n`);
    if (change === 'replace') renameSync(`${path}.edited`, path);
    isFull = true;
    assert.throws(() => log.log.append(numbered(1, 5)), /the disk is full/);
    isFull = false;
    log.log.append(numbered(1, 5));
    log.log.append(numbered(1, 6));
    log.log.close();
    const again = openScratchLog(t, log);
    assert.deepEqual(numbersOf(again.records), [1, 2, 5, 6], change);
    assert.equal(again.unreadSeq, 4, change);
  }
  assert.equal(logged.filter(line => line.includes('segment replaced or shortened')).length, 2);
});

test('a segment that somebody shortens before the end of the server is known to have lost its last messages', t => {
  captureLog(t);
  const log = openScratchLog(t);
  log.log.append(numbered(4, 1));
  const kept = fileContent(log).split('\n').slice(0, 3).join('\n');
  writeFileSync(join(log.directory, 'messages.jsonl'), `${kept}\n`);
  log.log.close();
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), [1, 2]);
  assert.deepEqual([again.lastSeq, again.unreadSeq], [4, 4]);
});

test('after somebody renames a full segment, the log continues in a new one', t => {
  captureLog(t);
  const log = openScratchLog(t, { rotateAt: 2000 });
  log.log.append(numbered(20, 1));
  renameSync(join(log.directory, 'messages.jsonl'), join(log.directory, 'away'));
  log.log.append(numbered(20, 21));
  log.log.append(numbered(20, 41));
  log.log.close();
  assert.deepEqual(numbersOf(openScratchLog(t, log).records), numbersOf(numbered(40, 21)));
});

test('what another program leaves at the end without a newline does not damage the next message', t => {
  captureLog(t);
  const log = openScratchLog(t);
  log.log.append(numbered(1, 1));
  writeFileSync(join(log.directory, 'messages.jsonl'), 'no newline', { flag: 'a' });
  log.log.append(numbered(1, 2));
  log.log.close();
  assert.deepEqual(numbersOf(openScratchLog(t, log).records), [1, 2]);
});
