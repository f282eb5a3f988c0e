/** The token file: errors are reported at the start, and at a reload before anything changes. */
import assert from 'node:assert/strict';
import { chmodSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { isEqual } from '../../src/access/tokens.ts';
import { askServer, commandWays, openServer, run } from '../support/commandWays.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();
const path = join(folder, 'token');

describe('a token', () => {
  const unfit: [string, string | Buffer | undefined, RegExp][] = [
    ['that is not there', undefined, /cannot read the token .*no such file/],
    ['that is empty', '', /one word of at least 16 letters/],
    ['that is short', 'only-15-letters', /one word of at least 16 letters/],
    ['that has a space', 'correct horse battery staple', /one word of at least 16 letters/],
    ['that is two lines', 'correct-horse-battery\nstaple-staple-staple\n', /one word of at least 16 letters/],
    ['that is no text', Buffer.alloc(32, 0xff), /it is not UTF-8: byte 0xff at offset 0/],
    ['that is huge', Buffer.alloc(1 << 20, 'a'), /too long for a token/],
  ];
  for (const [what, content, sentence] of unfit) {
    test(`${what} keeps the server from starting, with an error that says what to do`, async () => {
      rmSync(path, { force: true });
      if (content !== undefined) writeFileSync(path, content, { mode: 0o600 });
      const told = await run(['-p', '0', '--control', 'none', '--config', 'none', '--api-token', path]);
      assert.equal(told.exit, 2, told.stderr);
      assert.match(told.stderr, sentence);
      assert.equal(told.stderr.split('\n').length, 2);
    });
  }

  test('may follow a byte order mark, and may end with any newline', async t => {
    const server = await openServer(t);
    writeFileSync(server.tokenFile, '\ufeffanother-token-of-good-length\r\n');
    assert.equal((await askServer(server, 'reload')).stderr, '');
    const overHttp = commandWays.find(({ name }) => name === 'HTTP, as JSON')!;
    const told = await overHttp.call({ ...server, token: 'another-token-of-good-length' }, ['list']);
    assert.equal(told.exit, 0);
  });

  test('cannot be a folder or an endless device', async () => {
    for (const one of [folder, '/dev/zero']) {
      const told = await run(['-p', '0', '--control', 'none', '--config', 'none', '--api-token', one]);
      assert.equal(told.exit, 2);
      assert.match(told.stderr, /it is not a regular file/);
    }
  });

  test('that a reload replaces no longer gets the events of a stream', async t => {
    const server = await openServer(t);
    const headers = { Authorization: `Bearer ${server.token}`, 'Content-Type': 'application/json' };
    const url = `http://127.0.0.1:${server.port}/api/watch`;
    const stream = await fetch(url, { method: 'POST', headers, body: '{}' });
    assert.equal(stream.status, 200);
    writeFileSync(server.tokenFile, 'another-token-of-good-length');
    assert.match((await askServer(server, 'reload')).stdout, /api token replaced/);
    // It ends.
    await stream.text();
  });

  test('is read again at a reload; if the file is not valid then, the old token stays', async t => {
    const server = await openServer(t);
    const overHttp = commandWays.find(({ name }) => name === 'HTTP, as JSON')!;
    const exitWith = async (token: string) => (await overHttp.call({ ...server, token }, ['list'])).exit;
    const next = 'another-token-of-good-length';
    assert.deepEqual([await exitWith(server.token), await exitWith(next)], [0, 1]);

    writeFileSync(server.tokenFile, next);
    assert.deepEqual([await exitWith(server.token), await exitWith(next)], [0, 1]);
    const reloaded = await askServer(server, 'reload');
    assert.equal(reloaded.stderr, '');
    assert.match(reloaded.stdout, /api token replaced/);
    assert.doesNotMatch(reloaded.stdout, new RegExp(next));
    assert.doesNotMatch((await askServer(server, 'reload')).stdout, /replaced/);
    assert.deepEqual([await exitWith(server.token), await exitWith(next)], [1, 0]);

    truncateSync(server.tokenFile);
    const told = await askServer(server, 'reload');
    assert.match(told.stderr, /^pollywog: the token in .* must be one word/);
    assert.equal(await exitWith(next), 0);

    // Without a token the routes do not exist.
    assert.equal((await askServer(server, 'set', 'api-token', 'none')).stderr, '');
    assert.equal(await exitWith(next), 1);
    const missing = await fetch(`http://127.0.0.1:${server.port}/api/list`, { method: 'POST' });
    assert.equal(
      missing.status,
      (await fetch(`http://127.0.0.1:${server.port}/x`, { method: 'POST' })).status,
    );
  });

  test('that everyone can read is accepted with a warning in the log', async t => {
    writeFileSync(path, 'correct-horse-battery-staple');
    chmodSync(path, 0o644);
    const server = await openServer(t);
    assert.ok(!server.stderr().includes('everyone may read'));
    await askServer(server, 'set', 'api-token', path);
    const { level } = await server.untilLogged(({ event }) => event === 'token readable by everyone');
    assert.equal(level, 'warn');
  });
});

test('a token is equal to itself alone: not to a part of it, a repetition, a change of any letter, or to nothing', () => {
  const token = 'correct-horse-battery';
  assert.equal(isEqual(token, token), true);
  assert.equal(isEqual(token, undefined), false);
  const others = ['', token.slice(0, -1), token.slice(1), `${token}c`, token + token, token.toUpperCase()];
  for (let at = 0; at < token.length; at++) others.push(`${token.slice(0, at)}~${token.slice(at + 1)}`);
  // The same low byte as its first letter.
  others.push(`\u0163${token.slice(1)}`);
  for (const other of others) assert.equal(isEqual(other, token), false, other);
});
