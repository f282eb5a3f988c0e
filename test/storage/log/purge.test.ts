/** Purging: the forgotten messages of a channel are in no segment any more, and everything else is. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { realDisk } from '../../../src/storage/disk.ts';
import { captureLog, diskWith, systemError } from '../scratch.ts';
import { forget, numbersOf, openScratchLog, type ScratchLog, said, upTo } from './scratchLog.ts';

/** Messages 1 to `count`, every third in the channel `secret`, some in each segment, and a forget. */
function filledLog(t: TestContext, count: number): ScratchLog {
  const log = openScratchLog(t, { rotateAt: 2000 });
  for (const seq of upTo(count))
    log.log.append([said(seq, `text ${seq}`, { channel: seq % 3 === 0 ? 'secret' : 'pond' })]);
  log.log.append([forget(count + 1, 'secret')]);
  return log;
}

const contents = (log: ScratchLog) =>
  readdirSync(log.directory)
    .map(name => readFileSync(join(log.directory, name), 'utf8'))
    .join('');

const others = (last: number) => upTo(last).filter(seq => seq % 3 !== 0);

test('a purge removes the messages of one channel from every segment, and a restart has all the others', async t => {
  captureLog(t);
  const log = filledLog(t, 60);
  const full = join(log.directory, 'messages.1.jsonl');
  utimesSync(full, 1000, 1000);
  await log.log.purge('secret', 61);
  assert.equal(statSync(full).mtimeMs, 1_000_000);
  log.log.append([said(62, 'after', { channel: 'secret' })]);
  const texts = [...contents(log).matchAll(/"channel":"secret",.*"text":"([^"]*)"/g)].map(([, text]) => text);
  assert.deepEqual(texts, ['after']);
  assert.ok(readdirSync(log.directory).every(name => /^messages(\.\d+)?\.jsonl$/.test(name)));
  log.log.close();
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), [...others(60), -61, 62]);
  assert.deepEqual([again.lastSeq, again.unreadSeq], [62, 0]);
});

test('a purge covers the segments that somebody has rotated by hand', async t => {
  captureLog(t);
  const log = openScratchLog(t);
  for (const [seq, channel] of ['secret', 'pond', 'secret'].entries()) {
    log.log.append([said(seq + 1, `text ${seq + 1}`, { channel })]);
    if (seq < 2)
      renameSync(join(log.directory, 'messages.jsonl'), join(log.directory, `messages.${7 + seq}.jsonl`));
  }
  log.log.append([forget(4, 'secret')]);
  await log.log.purge('secret', 4);
  assert.doesNotMatch(contents(log), /text [13]/);
  log.log.close();
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), [2, -4]);
  assert.deepEqual([again.lastSeq, again.unreadSeq], [4, 0]);
});

test('a purge of the newest messages does not let numbers go back', async t => {
  captureLog(t);
  const log = openScratchLog(t, { rotateAt: 1000 });
  for (const seq of upTo(30)) log.log.append([said(seq, 'text', { channel: 'secret' })]);
  await log.log.purge('secret', 30);
  log.log.close();
  const again = openScratchLog(t, log);
  assert.deepEqual([again.records.length, again.lastSeq, again.unreadSeq], [0, 30, 0]);
});

test('what is appended and rotated during a purge is kept', async t => {
  captureLog(t);
  const log = filledLog(t, 60);
  const purged = log.log.purge('secret', 61);
  let seq = 62;
  const writer = setInterval(() => {
    for (let count = 0; count < 20; count++, seq++) log.log.append([said(seq, 'x'.repeat(200))]);
  }, 0);
  await purged;
  clearInterval(writer);
  log.log.append([said(seq, 'last')]);
  assert.ok(!/"secret",.*"text"/.test(contents(log)));
  log.log.close();
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), [...others(60), -61, ...upTo(seq, 62)]);
  assert.equal(again.unreadSeq, 0);
});

test('a damaged line of the channel is purged too, and other lines that cannot be read are left', async t => {
  captureLog(t);
  const log = filledLog(t, 9);
  writeFileSync(
    join(log.directory, 'messages.jsonl'),
    '{"id":"x","channel":"secret","text":"half\nnot JSON\n',
    { flag: 'a' },
  );
  await log.log.purge('secret', 10);
  assert.ok(!contents(log).includes('half'));
  assert.ok(contents(log).includes('not JSON\n'));
});

test('a purge that fails or is killed leaves every message in the log, and another one works', async t => {
  captureLog(t);
  for (const failing of upTo(3)) {
    const directory = filledLog(t, 60).directory;
    let writes = 0;
    const disk = diskWith({
      write(descriptor, bytes) {
        if (++writes === failing + 1) throw systemError('ENOSPC');
        return realDisk.write(descriptor, bytes);
      },
    });
    const log = openScratchLog(t, { directory, rotateAt: 2000, disk });
    await assert.rejects(log.log.purge('secret', 61), /cannot rewrite .*: the disk is full/);
    // As if it had been killed.
    writeFileSync(join(directory, 'messages.1.jsonl.purge'), 'x');
    const again = openScratchLog(t, { directory, rotateAt: 2000 });
    assert.deepEqual(
      numbersOf(again.records).filter(seq => seq > 0),
      others(60),
    );
    assert.ok(!readdirSync(directory).some(name => name.endsWith('.purge')));
    await again.log.purge('secret', 61);
    assert.ok(!/"secret",.*"text"/.test(contents(again)));
  }
});

test('closing the log ends a purge', async t => {
  captureLog(t);
  const log = filledLog(t, 60);
  const purged = log.log.purge('secret', 61);
  log.log.close();
  await assert.rejects(purged, /the server stopped before the messages were purged/);
});
