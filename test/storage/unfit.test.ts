/** What cannot be used is refused with a sentence, and left alone. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { toLine } from '../../src/storage/message.ts';
import { openStore } from '../../src/storage/store.ts';
import {
  content,
  everything,
  message,
  openRoom,
  scratchDirectory,
  scratchStore,
  withoutRoot,
} from './scratch.ts';

test('a directory that cannot be used is refused with a sentence', () => {
  const directory = scratchDirectory();
  writeFileSync(join(directory, 'file'), '');
  for (const path of [join(directory, 'file'), join(directory, 'file', 'data')]) {
    assert.throws(
      () => openStore({ directory: path, fsync: 'no' }),
      /^Error: cannot keep rooms in .*: a file is in the place of a directory; choose another/,
    );
  }
  mkdirSync(join(directory, 'closed'), { mode: 0o500 });
  for (const path of ['closed', 'closed/data']) {
    withoutRoot(() =>
      assert.throws(
        () => openStore({ directory: join(directory, path), fsync: 'no' }),
        /permission denied; let this user/,
      ),
    );
  }
});

test('what is no regular file is refused, and left alone', t => {
  const store = scratchStore(t);
  const at = (name: string) => join(store.directory, `${name}.jsonl`);
  mkdirSync(at('directory'));
  assert.throws(
    () => openRoom(store, 'directory', everything),
    /it is a directory instead of a file; move it away/,
  );
  writeFileSync(join(store.directory, 'elsewhere'), 'mine');
  symlinkSync(join(store.directory, 'elsewhere'), at('link'));
  assert.throws(
    () => openRoom(store, 'link', everything),
    /it is a symbolic link instead of a file; move it away/,
  );
  symlinkSync(join(store.directory, 'nowhere'), at('dangling'));
  assert.throws(() => openRoom(store, 'dangling', everything), /it is a symbolic link/);
  execFileSync('mkfifo', [at('pipe')]);
  assert.throws(() => openRoom(store, 'pipe', everything), /it is not a regular file; move it away/);
  assert.equal(content(store, 'elsewhere'), 'mine');
  assert.equal(store.rooms.size, 0);
});

test('a file that this user cannot read is refused with a sentence', t => {
  const directory = scratchDirectory();
  if (process.geteuid?.() === 0) chownSync(directory, 65534, 65534);
  const store = scratchStore(t, { directory });
  writeFileSync(join(directory, 'lobby.jsonl'), toLine(message('x')));
  chmodSync(join(directory, 'lobby.jsonl'), 0);
  withoutRoot(() =>
    assert.throws(
      () => openRoom(store, 'lobby', everything),
      /^Error: cannot open \S+lobby.jsonl: permission denied; let this user/,
    ),
  );
});
