import assert from 'node:assert/strict';
import { readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkLog, logTo, writeLine } from '../../src/log/log.ts';
import { skipUnlessLinux } from '../support/linux.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();
after(() => logTo('stderr'));
const path = join(folder, 'a.log');

test('a log file is created with mode 0640 and appended to', () => {
  logTo(path);
  assert.equal(writeLine('one\n'), true);
  assert.equal(statSync(path).mode & 0o777, 0o640);
  logTo('none');
  assert.equal(writeLine('nowhere\n'), true);
  logTo(path);
  writeLine('two\n');
  assert.equal(readFileSync(path, 'utf8'), 'one\ntwo\n');
});

test('a renamed log file keeps receiving lines until it is opened again', () => {
  logTo(path);
  renameSync(path, `${path}.1`);
  writeLine('before\n');
  logTo(path);
  writeLine('after\n');
  assert.match(readFileSync(`${path}.1`, 'utf8'), /before\n$/);
  assert.equal(readFileSync(path, 'utf8'), 'after\n');
});

test('the log stays where it was if the new file cannot be opened', () => {
  const other = join(folder, 'b.log');
  logTo(other);
  const refused: [string, RegExp][] = [
    [join(folder, 'missing', 'a.log'), /there is no such folder; choose another with --log-file$/],
    [folder, /it is a folder/],
  ];
  for (const [place, sentence] of refused) {
    assert.throws(() => logTo(place), { message: sentence });
    assert.throws(() => checkLog(place), { message: sentence });
  }
  writeLine('still here\n');
  assert.equal(readFileSync(other, 'utf8'), 'still here\n');
});

test('a full disk loses lines, and the log counts them afterwards', t => {
  if (skipUnlessLinux(t, '/dev/full')) return;
  logTo('/dev/full');
  assert.equal(writeLine('lost\n'), false);
});
