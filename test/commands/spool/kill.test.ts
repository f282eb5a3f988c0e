/** A server killed while it runs spool files: nothing is run twice, and nothing is lost. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { newRandom } from '../../support/random.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { messagesIn } from '../../support/roomFiles.ts';
import { newSpoolFolder, type SpoolFolder, startSpooling, untilThrough } from '../../support/spool.ts';
import { untilLogged } from '../../support/untilLogged.ts';

const total = 1000;
const killings = 10;
const names = Array.from({ length: total }, (_, index) => String(index).padStart(4, '0'));

/** Where the files are: each is in one place. */
function places(spool: SpoolFolder): Record<'done' | 'failed' | 'waiting', string[]> {
  return { done: spool.names('.out'), failed: spool.names('.cmd', 'failed'), waiting: spool.names('.cmd') };
}

test('a thousand files survive ten SIGKILLs: none runs twice, none is lost', async t => {
  const spool = newSpoolFolder(t);
  const data = `${spool.path}.data`;
  mkdirSync(spool.path, { mode: 0o700 });
  for (const name of names) spool.put(name, `broadcast ${name}\npublish lobby ${name}\n`);
  const random = newRandom(20);
  const heard: string[] = [];
  let found = 0;
  for (let round = 0; round <= killings; round++) {
    const server = await startSpooling(spool, '--data', data, '--drain-timeout', '1s');
    const client = await connectRaw(server.port);
    const left = spool.names('.cmd').length;
    if (round === killings) {
      await untilThrough(server, spool, names.at(-1)!);
      assert.equal(await server.stop(), 0);
    } else {
      await untilLogged(server, 'spool file done', Math.min(left, 1 + (round % 3) * 40));
      for (let i = random.below(200); i > 0; i--) await new Promise(setImmediate);
      await server.kill();
    }
    const frames = await client.remainingFrames();
    client.destroy();
    for (const { opcode, payload } of frames) if (opcode === 1) heard.push(payload.toString());
    found += server.logged().filter(({ reason }) => /^the server ended/.test(String(reason))).length;
    const { done, failed, waiting } = places(spool);
    const running = spool.names('.cmd', 'running').filter(name => !done.includes(name));
    assert.deepEqual([...new Set([...done, ...failed, ...running, ...waiting])].sort(), names);
  }
  const { done, failed, waiting } = places(spool);
  assert.deepEqual([...done, ...failed].sort(), names, 'each is in one place');
  assert.deepEqual(waiting, []);
  assert.deepEqual(spool.names('', 'running'), []);
  assert.equal(failed.length, found);
  assert.ok(failed.length <= killings);
  // A client hears each at most once, and in order.
  assert.ok(heard.length > 0);
  assert.deepEqual(heard, [...new Set(heard)].sort());
  // The room's history survives: finished files posted once, failed ones at most once.
  const said = messagesIn(data, 'lobby').map(({ text }) => text);
  assert.deepEqual(said, [...new Set(said)].sort());
  const unsaid = names.filter(name => !said.includes(name));
  assert.deepEqual(
    unsaid.filter(name => !failed.includes(name)),
    [],
  );
});

test('a file found in running/ moves to failed/, or is removed if it has its answer', async t => {
  const spool = newSpoolFolder(t);
  mkdirSync(join(spool.path, 'running'), { recursive: true, mode: 0o700 });
  const place = (file: string, content: string) => writeFileSync(join(spool.path, file), content);
  place('running/half.cmd', 'stop\n');
  place('running/half.out', 'a draft');
  place('running/done.cmd', 'stop\n');
  place('done.out', 'stopping: 1\n');
  spool.put('half', 'rooms\n');
  const server = await startSpooling(spool);
  const reason =
    'the server ended while this file was running; its commands may have been carried out in part';
  assert.equal((await untilThrough(server, spool, 'half')).failed, true);
  assert.equal(spool.read('failed/half.out'), `${reason}\n`);
  assert.equal(spool.read('failed/half.cmd'), 'stop\n');
  assert.equal(spool.read('done.out'), 'stopping: 1\n');
  // The next one of this name is another one.
  await untilLogged(server, 'spool file done');
  assert.match(spool.read('half.out'), /^room /);
  assert.deepEqual(spool.names('', 'running'), []);
});
