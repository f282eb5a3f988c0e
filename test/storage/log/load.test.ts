/** What a start reads of the log: what the bounds need, and nothing that claims to be complete when it is not. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { realDisk } from '../../../src/storage/disk.ts';
import { channelMemory, messageMemory } from '../../../src/storage/log/load.ts';
import { loadLog } from '../../../src/storage/log/openLog.ts';
import type { LoadedLog } from '../../../src/storage/log/records.ts';
import { captureLog, countReads, diskWith, withoutRoot } from '../scratch.ts';
import {
  fileContent,
  forget,
  type LogSettings,
  logOptions,
  numbered,
  numbersOf,
  openScratchLog,
  type ScratchLog,
  said,
  time,
  upTo,
} from './scratchLog.ts';

/** Numbers skipped when the end of the log may be lost. */
const skipped = 10_000_000;

/** A log with messages 1 to `count`, ten in each segment, closed unless it is `killed`. */
function filledLog(
  t: TestContext,
  count: number,
  settings: LogSettings & { isKilled?: boolean } = {},
): ScratchLog {
  const log = openScratchLog(t, { rotateAt: 1100, ...settings });
  for (const record of numbered(count, 1)) log.log.append([record]);
  if (settings.isKilled !== true) log.log.close();
  return log;
}

const current = (log: ScratchLog) => join(log.directory, 'messages.jsonl');

function editLines(path: string, edit: (lines: string[]) => void): void {
  const lines = readFileSync(path, 'utf8').split('\n');
  edit(lines);
  writeFileSync(path, lines.join('\n'));
}

test('after a kill and after a regular end, epoch and numbers continue and nothing is missing', t => {
  captureLog(t);
  for (const isKilled of [true, false]) {
    const log = filledLog(t, 25, { isKilled });
    const again = openScratchLog(t, log);
    assert.equal(again.log.epoch, log.log.epoch);
    assert.deepEqual([again.lastSeq, again.unreadSeq], [25, 0]);
    assert.deepEqual(numbersOf(again.records), upTo(25));
    again.log.append(numbered(1, 26));
    again.log.close();
    assert.equal(openScratchLog(t, log).lastSeq, 26);
  }
});

test('a log without messages keeps its epoch over a restart', t => {
  captureLog(t);
  const log = openScratchLog(t);
  assert.match(log.log.epoch, /^[0-9a-z]{8,}$/);
  assert.deepEqual([log.lastSeq, log.unreadSeq], [0, 0]);
  log.log.close();
  const again = openScratchLog(t, log);
  assert.equal(again.log.epoch, log.log.epoch);
  assert.deepEqual([again.lastSeq, again.unreadSeq], [0, 0]);
  assert.notEqual(openScratchLog(t).log.epoch, log.log.epoch);
});

test('each channel has its newest messages, and a forget with the number of the newest that is left out', t => {
  captureLog(t);
  const log = openScratchLog(t);
  log.log.append([...numbered(5, 1, 'a'), ...numbered(3, 6, 'b'), ...numbered(1, 9, 'c')]);
  log.log.close();
  const again = openScratchLog(t, { ...log, bounds: { messages: 2 } });
  assert.deepEqual(numbersOf(again.records), [-3, 4, 5, -6, 7, 8, 9]);
  assert.equal(again.unreadSeq, 0);
  again.log.close();
  const short = openScratchLog(t, { ...log, bounds: { bytes: 'message 1'.length } });
  assert.deepEqual(numbersOf(short.records), [-4, 5, -7, 8, 9]);
});

test('a message that is too large to be kept is not read into memory, and not forgotten in silence', t => {
  captureLog(t);
  const log = openScratchLog(t);
  log.log.append([...numbered(1, 1), said(2, 'x'.repeat(500_000)), ...numbered(1, 3)]);
  log.log.close();
  const again = openScratchLog(t, { ...log, bounds: { bytes: 1000 } });
  assert.deepEqual(numbersOf(again.records), [-2, 3]);
});

test('a start reads from the newest segments what the memory takes, and no more', t => {
  captureLog(t);
  const log = openScratchLog(t, { rotateAt: 100_000 });
  for (let seq = 1; seq <= 1000; seq++) log.log.append([said(seq, 'x'.repeat(1000))]);
  log.log.close();
  const reads = countReads(t);
  const again = openScratchLog(t, { ...log, bounds: { memory: 200_000 } });
  const numbers = numbersOf(again.records);
  assert.equal(numbers.at(-1), 1000);
  assert.equal(numbers.length, Math.floor((200_000 - channelMemory) / (1000 + messageMemory)));
  assert.deepEqual(numbers, upTo(1000, numbers[0]));
  assert.equal(again.unreadSeq, numbers[0]! - 1);
  assert.ok(reads.total < 600_000, `${reads.total} bytes were read`);
});

test('a history of zero messages is not read, and claims nothing', t => {
  captureLog(t);
  const log = filledLog(t, 25);
  const again = openScratchLog(t, { ...log, bounds: { messages: 0 } });
  assert.deepEqual([again.records.length, again.lastSeq, again.unreadSeq], [0, 25, 25]);
});

test('messages beyond the age are left out', t => {
  captureLog(t);
  const now = Date.now();
  const log = openScratchLog(t);
  log.log.append([
    said(1, 'old', { time: now - 100_000 }),
    said(2, 'new', { time: now }),
    said(3, 'old', { time: now - 100_000, channel: 'other' }),
  ]);
  log.log.close();
  assert.deepEqual(numbersOf(openScratchLog(t, { ...log, bounds: { age: 50_000 } }).records), [-1, 2, -3]);
});

test('messages whose time to live is over are left out, and take no place of others', t => {
  captureLog(t);
  const log = openScratchLog(t);
  const expiresAt = Date.now() - 1000;
  log.log.append([said(1, 'kept'), said(2, 'over', { expiresAt }), said(3, 'over', { expiresAt })]);
  log.log.append([
    said(4, 'elsewhere', { channel: 'other', expiresAt }),
    said(5, 'kept', { expiresAt: time }),
  ]);
  log.log.close();
  for (const bounds of [{ messages: 2 }, { bytes: 8 }, { memory: channelMemory + 2 * (messageMemory + 4) }]) {
    const again = openScratchLog(t, { ...log, bounds });
    assert.deepEqual(numbersOf(again.records), [1, 5], JSON.stringify(bounds));
    assert.deepEqual(
      [...again.expired],
      [
        ['other', 4],
        ['pond', 3],
      ],
    );
    assert.equal(again.unreadSeq, 0);
  }
});

test('a forget removes the messages of its channel before it, and no others', t => {
  captureLog(t);
  const log = openScratchLog(t);
  log.log.append([...numbered(3, 1), said(4, 'x', { channel: 'other' }), forget(5), ...numbered(2, 6)]);
  log.log.close();
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), [4, -3, 6, 7]);
  assert.equal(again.lastSeq, 7);
});

test('a torn last line is cut off, a whole one without its newline is kept', t => {
  const logged = captureLog(t);
  const log = filledLog(t, 5, { isKilled: true, rotateAt: 0 });
  truncateSync(current(log), fileContent(log).length - 1);
  const whole = openScratchLog(t, log);
  assert.deepEqual([whole.lastSeq, whole.unreadSeq], [5, 0]);
  assert.ok(!logged.some(line => line.includes('torn')));
  whole.log.append(numbered(1, 6));
  truncateSync(current(log), fileContent(log).length - 20);
  const torn = openScratchLog(t, log);
  assert.ok(logged.some(line => line.includes('torn line cut off')));
  assert.deepEqual([torn.lastSeq, torn.unreadSeq], [5, 0]);
  torn.log.append(numbered(1, 6));
  torn.log.close();
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), upTo(6));
  assert.equal(again.unreadSeq, 0);
});

test('a whole last line is kept if other bytes are in place of its newline, and the log knows that its end is damaged', t => {
  captureLog(t);
  const garbage = ['x', '}', '"', '{', '\0', '\0\0\0', '{"id":"', 'xx}', '}{}'];
  const texts = ['', 'a } b', '{"a":[1,{"b":"}"}]}', 'quotes "}\\" and \\'];
  for (const bytes of garbage) {
    for (const text of texts) {
      const log = openScratchLog(t);
      log.log.append([...numbered(3, 1), said(4, text)]);
      const content = fileContent(log);
      writeFileSync(current(log), content.slice(0, content.length - 1));
      writeFileSync(current(log), bytes, { flag: 'a' });
      const again = openScratchLog(t, log);
      assert.deepEqual(numbersOf(again.records), upTo(4), bytes);
      assert.equal(again.records.at(-1)?.seq, 4);
      assert.ok(again.unreadSeq >= 4, 'messages after it may be missing');
      assert.equal(again.lastSeq, 4 + skipped, 'no number is used again');
      again.log.append(numbered(1, again.lastSeq + 1));
      again.log.close();
      const third = openScratchLog(t, log);
      assert.deepEqual(numbersOf(third.records), [...upTo(4), 5 + skipped], bytes);
    }
  }
});

test('messages before a mark with a damaged number are kept, or the log knows that they are missing', t => {
  captureLog(t);
  const log = filledLog(t, 6);
  const reopened = openScratchLog(t, log);
  reopened.log.append(numbered(2, 7));
  reopened.log.close();
  const content = fileContent(log);
  for (const digit of '12345689') {
    const mark = content.indexOf('"next":7');
    writeFileSync(
      current(log),
      `${content.slice(0, mark)}"next":${digit}${content.slice(mark + '"next":7'.length)}`,
    );
    const again = openScratchLog(t, log);
    const found = numbersOf(again.records);
    for (const seq of upTo(8))
      assert.ok(found.includes(seq) || seq <= again.unreadSeq, `next ${digit}: message ${seq} is missing`);
    assert.ok(again.lastSeq >= 8, digit);
    again.log.close();
  }
});

test('a last line is torn wherever it was cut, and its number is used again', t => {
  captureLog(t);
  const log = openScratchLog(t);
  log.log.append([...numbered(2, 1), said(3, 'a "}" {"b":1} c', { channel: 'x{}' })]);
  const content = fileContent(log);
  const start = content.lastIndexOf('{"id"');
  for (let end = start + 1; end < content.length - 1; end++) {
    writeFileSync(current(log), content.slice(0, end));
    const torn = openScratchLog(t, log);
    assert.deepEqual([torn.lastSeq, torn.unreadSeq, numbersOf(torn.records)], [2, 0, upTo(2)], String(end));
  }
});

test('after a crash of the system the numbers jump, and nothing before the crash counts as complete', t => {
  captureLog(t);
  for (const fsync of ['everysec', 'no', 'always'] as const) {
    const log = filledLog(t, 25, { fsync, isKilled: true });
    writeFileSync(current(log), '\0'.repeat(5000), { flag: 'a' });
    const again = openScratchLog(t, { ...log, boot: 'another', fsync });
    assert.deepEqual(numbersOf(again.records), upTo(25));
    // With always, everything that was acknowledged is on disk.
    const last = fsync === 'always' ? 25 : 25 + skipped;
    assert.deepEqual([again.lastSeq, again.unreadSeq], [last, fsync === 'always' ? 0 : last], fsync);
    again.log.append(numbered(1, last + 1));
    again.log.close();
    const third = openScratchLog(t, { ...log, boot: 'another', fsync });
    assert.equal(third.lastSeq, last + 1);
    assert.equal(third.unreadSeq, fsync === 'always' ? 0 : last);
    assert.deepEqual(numbersOf(third.records), [...upTo(25), last + 1]);
  }
});

test('the first line of a server is synced with every --fsync, so a crash that takes all later lines is detected', t => {
  for (const fsync of ['no', 'everysec'] as const) {
    captureLog(t);
    const first = filledLog(t, 3);
    const synced: string[] = [];
    const disk = diskWith({
      sync(path) {
        synced.push(fileContent(first));
        realDisk.sync(path);
      },
    });
    const second = openScratchLog(t, { ...first, fsync, disk });
    second.log.append(numbered(1, 4));
    assert.equal(synced.length, 1);
    // A crash of the system leaves this.
    writeFileSync(join(first.directory, 'messages.jsonl'), synced[0]!);
    const third = openScratchLog(t, { ...first, boot: 'another' });
    assert.deepEqual(numbersOf(third.records), [1, 2, 3]);
    assert.equal(third.unreadSeq, third.lastSeq);
    assert.ok(third.lastSeq > 4);
  }
});

test('a reboot after a regular end loses nothing', t => {
  captureLog(t);
  const log = filledLog(t, 25);
  const again = openScratchLog(t, { ...log, boot: 'another' });
  assert.deepEqual([again.lastSeq, again.unreadSeq], [25, 0]);
});

test('the mark of the newest start is found even if the bounds need less', t => {
  captureLog(t);
  const log = filledLog(t, 3, { boot: 'first' });
  const second = openScratchLog(t, { ...log, boot: 'second', rotateAt: 0 });
  second.log.append(numbered(500, 4));
  const third = openScratchLog(t, { ...log, boot: 'second', bounds: { memory: 1000 } });
  assert.equal(third.lastSeq, 503);
});

test('if the current segment is gone or empty, numbers jump instead of being used again', t => {
  captureLog(t);
  for (const damage of [
    (path: string) => rmSync(path),
    (path: string) => truncateSync(path),
    (path: string) => editLines(path, lines => lines.fill('garbage')),
  ]) {
    const log = filledLog(t, 25);
    damage(current(log));
    const again = openScratchLog(t, log);
    assert.ok(again.lastSeq >= 10 + skipped, `${again.lastSeq}`);
    assert.equal(again.unreadSeq, again.lastSeq);
    assert.ok(numbersOf(again.records).length >= 10);
  }
});

test('a damaged line costs itself only, and nothing before it counts as complete', t => {
  const logged = captureLog(t);
  const log = filledLog(t, 25, { rotateAt: 0 });
  editLines(current(log), lines => {
    lines[10] = lines[10]!.slice(0, 20);
  });
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), [...upTo(9), ...upTo(25, 11)]);
  assert.equal(again.lastSeq, 25);
  assert.ok(again.unreadSeq >= 10 && again.unreadSeq <= 11, `${again.unreadSeq}`);
  assert.ok(logged.some(line => /lines skipped .*damaged=1 duplicates=0 foreign=0/.test(line)));
});

test('a damaged number costs its line only', t => {
  captureLog(t);
  for (const wrong of ['2', '9999', '999999999999999999999']) {
    const log = filledLog(t, 25, { rotateAt: 0 });
    editLines(current(log), lines => {
      lines[10] = lines[10]!.replace('-10"', `-${wrong}"`);
    });
    const again = openScratchLog(t, log);
    assert.deepEqual(numbersOf(again.records), [...upTo(9), ...upTo(25, 11)], wrong);
    assert.equal(again.lastSeq, 25);
    assert.ok(again.unreadSeq >= 10, `${again.unreadSeq}`);
  }
});

test('no damaged byte, wherever it is, makes a message disappear in silence', t => {
  captureLog(t);
  const count = 4;
  for (const byte of ['x', '5', '\n', '"']) {
    for (let at = 0, size = 1; at < size; at++) {
      const log = filledLog(t, count, { rotateAt: 0 });
      const bytes = readFileSync(current(log));
      size = bytes.length;
      bytes.write(byte, at);
      writeFileSync(current(log), bytes);
      const again = openScratchLog(t, { ...log, bounds: { messages: 3 } });
      const numbers = numbersOf(again.records);
      const missing = upTo(count).filter(
        seq => seq > again.unreadSeq && !numbers.includes(seq) && !numbers.some(one => one <= -seq),
      );
      // A log in which the epoch of most lines is damaged is another log.
      if (again.log.epoch === log.log.epoch) assert.deepEqual(missing, [], `${byte} at ${at}`);
      again.log.close();
    }
  }
});

test('a message whose line is valid JSON with a damaged value is missing, and that is known', t => {
  captureLog(t);
  const log = filledLog(t, 5, { rotateAt: 0 });
  editLines(current(log), lines => {
    lines[3] = lines[3]!.replace('"text":', '"txet":');
  });
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), [1, 2, 4, 5]);
  assert.equal(again.unreadSeq, 3);
});

test('duplicates, whether lines or whole segments, are logged and cost nothing', t => {
  const logged = captureLog(t);
  const log = filledLog(t, 35);
  const names = readdirSync(log.directory).sort();
  assert.ok(names.length >= 4);
  copyFileSync(join(log.directory, 'messages.1.jsonl'), join(log.directory, 'messages.77.jsonl'));
  editLines(join(log.directory, 'messages.2.jsonl'), lines => lines.splice(3, 0, ...lines.slice(1, 3)));
  const again = openScratchLog(t, { ...log, rotateAt: 1100 });
  assert.deepEqual(numbersOf(again.records), upTo(35));
  assert.deepEqual([again.lastSeq, again.unreadSeq], [35, 0]);
  assert.ok(logged.some(line => /lines skipped .*damaged=0 duplicates=2/.test(line)));
  // The next rotation does not overwrite the copy.
  for (const record of numbered(30, 36)) again.log.append([record]);
  assert.ok(fileContent(log, 'messages.78.jsonl').length > 0);
});

test("another server's lines and another program's lines are logged and cost nothing", t => {
  const logged = captureLog(t);
  const log = filledLog(t, 25);
  const other = filledLog(t, 8);
  renameSync(current(other), join(log.directory, 'messages.99.jsonl'));
  editLines(current(log), lines => lines.splice(1, 0, '{"note":"by hand"}', '[1]', ''));
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), upTo(25));
  assert.deepEqual([again.lastSeq, again.unreadSeq], [25, 0]);
  assert.equal(again.log.epoch, log.log.epoch);
  assert.ok(
    logged.some(line => /lines skipped .*messages.99.jsonl damaged=0 duplicates=0 foreign=\d+/.test(line)),
  );
});

test('a line that another program has written again in another order and with white space is read', t => {
  captureLog(t);
  const log = filledLog(t, 5, { rotateAt: 0 });
  editLines(current(log), lines => {
    const { id, channel, text, time: at } = JSON.parse(lines[2]!);
    lines[2] = JSON.stringify({ text, channel, id, time: at }, undefined, 1).replaceAll('\n', ' ');
  });
  assert.deepEqual(numbersOf(openScratchLog(t, log).records), upTo(5));
});

test('a missing segment is noticed, and the others are read', t => {
  const logged = captureLog(t);
  const log = filledLog(t, 45);
  rmSync(join(log.directory, 'messages.2.jsonl'));
  const again = openScratchLog(t, log);
  assert.ok(logged.some(line => line.includes('messages missing between segments')));
  const numbers = numbersOf(again.records);
  assert.equal(numbers[0], 1);
  assert.equal(numbers.at(-1), 45);
  assert.ok(numbers.includes(again.unreadSeq + 1) && !numbers.includes(again.unreadSeq));
});

test('a full segment that cannot be read is logged, and the others are read', t => {
  const logged = captureLog(t);
  for (const damage of [
    (path: string) => mkdirSync(path),
    (path: string) => symlinkSync('/dev/zero', path),
    (path: string) => writeFileSync(path, Buffer.alloc(5000, 1)),
  ]) {
    const log = filledLog(t, 45);
    rmSync(join(log.directory, 'messages.2.jsonl'));
    damage(join(log.directory, 'messages.2.jsonl'));
    logged.length = 0;
    const again = openScratchLog(t, log);
    assert.ok(
      logged.some(line => /older messages are not read|lines skipped/.test(line)),
      logged.join(''),
    );
    const numbers = numbersOf(again.records);
    assert.equal(numbers[0], 1);
    assert.equal(numbers.at(-1), 45);
    assert.ok(
      numbers.includes(again.unreadSeq + 1) && !numbers.includes(again.unreadSeq),
      `${again.unreadSeq}`,
    );
  }
});

test('a current segment that cannot be used is an error that says what to do', t => {
  captureLog(t);
  const log = filledLog(t, 5, { rotateAt: 0 });
  chmodSync(current(log), 0o400);
  chmodSync(log.directory, 0o777);
  withoutRoot(() => assert.throws(() => openScratchLog(t, log), /cannot open .*: permission denied/));
  rmSync(current(log));
  mkdirSync(current(log));
  assert.throws(
    () => openScratchLog(t, log),
    /cannot open .*messages.jsonl: it is a directory|not a regular file/,
  );
  rmSync(current(log), { recursive: true });
  symlinkSync('/dev/null', current(log));
  assert.throws(() => openScratchLog(t, log), /cannot open .*: it is a symbolic link/);
});

test('a kill between the two steps of a rotation is undone', t => {
  captureLog(t);
  const log = filledLog(t, 5, { rotateAt: 0 });
  linkSync(current(log), join(log.directory, 'messages.1.jsonl'));
  writeFileSync(`${current(log)}.new`, 'x');
  const again = openScratchLog(t, log);
  assert.deepEqual(numbersOf(again.records), upTo(5));
  assert.deepEqual(readdirSync(log.directory), ['messages.jsonl']);
});

test('a foreign file with the name of the log is renamed, and an empty one is used', t => {
  const logged = captureLog(t);
  const { directory } = logOptions({});
  const path = join(directory, 'messages.jsonl');
  writeFileSync(path, 'not a log\n');
  const log = openScratchLog(t, { directory });
  log.log.append(numbered(1, 1));
  assert.equal(readFileSync(`${path}.foreign`, 'utf8'), 'not a log\n');
  assert.ok(logged.some(line => line.includes('file renamed, because the log needs its name')));
  assert.deepEqual([log.lastSeq, log.unreadSeq], [0, 0]);
});

test('a start reads in slices of 64 KiB, even a segment without newlines', t => {
  captureLog(t);
  const log = openScratchLog(t);
  log.log.append(numbered(1, 1));
  log.log.close();
  appendFileSync(current(log), `${'x'.repeat(8_000_000)}\n`);
  const reads = countReads(t);
  const slices = loadLog(logOptions({ ...log, bounds: { bytes: 1000 } }), { release() {}, fault: undefined });
  let last = 0;
  for (;;) {
    const { done, value } = slices.next();
    assert.ok(reads.total - last <= 2 * 65_536 + 2 * 8192, `${reads.total - last} bytes in a slice`);
    last = reads.total;
    if (!done) continue;
    const loaded: LoadedLog = value;
    assert.deepEqual(numbersOf(loaded.records), [1]);
    loaded.log.close();
    break;
  }
});

test('the log says how long the start took, and what it read', t => {
  const logged = captureLog(t);
  const log = filledLog(t, 25);
  logged.length = 0;
  openScratchLog(t, log);
  assert.match(logged.join(''), /info {2}history loaded folder=\S+ messages=25 segments=\d+ ms=\d+\n/);
  assert.equal(time, said(1, '').time);
});
