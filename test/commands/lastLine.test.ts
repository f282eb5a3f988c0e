/** A last line without a newline counts, wherever lines are read. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readToken } from '../../src/access/tokens.ts';
import { readJson } from '../../src/options/json.ts';
import { openServer, secret } from '../support/commandWays.ts';
import { connectRaw } from '../support/rawClient.ts';
import { newSpoolFolder, startSpooling, untilThrough } from '../support/spool.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const ends = ['\n', '\r\n', '', '\r'];
const shownEnd = (end: string) => JSON.stringify(end);

test('the last line of a file in the spool is a command, however it ends', async t => {
  const spool = newSpoolFolder(t);
  const server = await startSpooling(spool);
  for (const [number, end] of ends.entries()) {
    const client = await connectRaw(server.port);
    spool.put(`${number}`, `# two lines\nbroadcast one\nbroadcast two${end}`);
    const through = await untilThrough(server, spool, `${number}`);
    assert.deepEqual(through, { failed: false, said: 'sent: 1\nsent: 1\n' }, shownEnd(end));
    for (const text of ['one', 'two'])
      assert.equal((await client.nextFrame())?.payload.toString(), text, shownEnd(end));
    await client.end();
  }
});

test('the last line of stdin is a command, however it ends', async t => {
  for (const end of ends) {
    const server = await openServer(t);
    const client = await connectRaw(server.port);
    server.child.stdin!.end(`broadcast one\nbroadcast two${end}`);
    for (const text of ['one', 'two'])
      assert.equal((await client.nextFrame())?.payload.toString(), text, shownEnd(end));
    await client.end();
    await server.kill();
  }
});

test('the token and the configuration do not include the newline at the end of their files', () => {
  const folder = temporaryFolder();
  const path = join(folder, 'file');
  for (const end of ends) {
    writeFileSync(path, `${secret}${end}`, { mode: 0o600 });
    assert.equal(readToken(path), secret, shownEnd(end));
    writeFileSync(path, `{"max-message": "1MB"}${end}`);
    assert.deepEqual(readJson(readFileSync(path, 'utf8')), { 'max-message': '1MB' }, shownEnd(end));
  }
});
