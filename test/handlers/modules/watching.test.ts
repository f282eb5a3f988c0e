/** `--watch` sees every change, even if the folder is created anew or a link on the way to it is switched. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { newFolder } from '../../support/modules.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServerFor } from '../../support/serverProcess.ts';
import { untilLogged } from '../../support/untilLogged.ts';

const says = (text: string) => `export function message(connection) { connection.send('${text}'); }\n`;

async function ask(server: ServerProcess): Promise<string | undefined> {
  const client = await connectRaw(server.port, { path: '/mod' });
  client.send(frame(opcode.text, 'x'));
  const answer = (await client.nextFrame())?.payload.toString();
  client.destroy();
  return answer;
}

interface Watching {
  readonly server: ServerProcess;
  /** Waits for the next swap, and checks the file that it loads. */
  untilSays(text: string): Promise<void>;
}

async function startWatching(
  t: { after(hook: () => Promise<void>): void },
  path: string,
  first: string,
): Promise<Watching> {
  const server = await startServerFor(t, '--handlers', path, '--watch');
  assert.equal(await ask(server), first);
  let swaps = 0;
  return {
    server,
    async untilSays(text) {
      await untilLogged(server, 'handler swapped', ++swaps);
      assert.equal(await ask(server), text);
    },
  };
}

function point(link: string, target: string): void {
  symlinkSync(target, `${link}.new`);
  renameSync(`${link}.new`, link);
}

test('a folder that is deleted and created again, even with its parents, stays watched', async t => {
  const folder = newFolder({ 'a/b/h/mod.mjs': says('v1') });
  const path = join(folder.path, 'a/b/h');
  const { untilSays } = await startWatching(t, path, 'v1');
  for (const [gone, text] of Object.entries({ 'a/b/h': 'v2', 'a/b': 'v3', a: 'v4' })) {
    rmSync(join(folder.path, gone), { recursive: true });
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'mod.mjs'), says(text));
    await untilSays(text);
    writeFileSync(join(path, 'mod.mjs'), says(`${text} again`));
    await untilSays(`${text} again`);
  }
});

test('a missing folder is logged once, and its modules are reloaded when it is back', async t => {
  const folder = newFolder({ 'h/mod.mjs': says('v1') });
  const path = join(folder.path, 'h');
  const { server, untilSays } = await startWatching(t, path, 'v1');
  renameSync(path, `${path}.away`);
  const missing = await server.untilLogged(({ event }) => event === 'handlers missing');
  assert.deepEqual([missing['folder'], missing['reason']], [path, 'no such folder']);
  assert.equal(await ask(server), 'v1', 'meanwhile the version in charge stays');
  mkdirSync(path);
  writeFileSync(join(path, 'mod.mjs'), says('v2'));
  await untilSays('v2');
  assert.equal(server.logged().filter(({ event }) => event === 'handlers missing').length, 1);
  await untilLogged(server, 'handlers found again');
});

test('a switched link on the way to the folder reloads the modules', async t => {
  const folder = newFolder({});
  for (const name of ['1', '2', '3']) folder.write(`r/${name}/h/mod.mjs`, says(`v${name}`));
  const link = join(folder.path, 'current');
  point(link, 'r/1');
  const { untilSays } = await startWatching(t, join(link, 'h'), 'v1');
  point(link, 'r/2');
  await untilSays('v2');
  // `ln -sfn` removes the old one first.
  rmSync(link);
  symlinkSync(join(folder.path, 'r/3'), link);
  await untilSays('v3');
  folder.write('r/3/h/mod.mjs', says('v3 changed'));
  await untilSays('v3 changed');
});

test('a change of a linked file’s target reloads the module', async t => {
  const folder = newFolder({ 'src/one.mjs': says('v1'), 'src/two.mjs': says('v4'), 'h/x': '' });
  const link = join(folder.path, 'h/mod.mjs');
  point(link, '../src/one.mjs');
  const { untilSays } = await startWatching(t, join(folder.path, 'h'), 'v1');
  writeFileSync(join(folder.path, 'src/one.mjs'), says('v2'));
  await untilSays('v2');
  folder.write('src/one.mjs', says('v3'));
  await untilSays('v3');
  point(link, '../src/two.mjs');
  await untilSays('v4');
  folder.write('h/mod.mjs', says('v5'));
  await untilSays('v5');
});

test('a switched ..data link of a Kubernetes volume reloads the modules', async t => {
  const folder = newFolder({ '..2026_01/mod.mjs': says('v1') });
  point(join(folder.path, '..data'), '..2026_01');
  symlinkSync('..data/mod.mjs', join(folder.path, 'mod.mjs'));
  const { untilSays } = await startWatching(t, folder.path, 'v1');
  for (const [before, next] of [
    ['1', '2'],
    ['2', '3'],
  ]) {
    folder.write(`..2026_0${next}/mod.mjs`, says(`v${next}`));
    point(join(folder.path, '..data'), `..2026_0${next}`);
    rmSync(join(folder.path, `..2026_0${before}`), { recursive: true });
    await untilSays(`v${next}`);
  }
});

test('a file is loaded whether it is written in place, renamed over another, or new', async t => {
  const folder = newFolder({ 'mod.mjs': says('v1') });
  const file = join(folder.path, 'mod.mjs');
  const { server, untilSays } = await startWatching(t, folder.path, 'v1');
  writeFileSync(file, says('v2'));
  await untilSays('v2');
  // As vim saves a file: the old file becomes the backup.
  renameSync(file, `${file}~`);
  writeFileSync(file, says('v3'));
  await untilSays('v3');
  folder.write('other.mjs', says('other'));
  await server.untilLogged(({ event, handler }) => event === 'handler loaded' && handler === 'other');
  rmSync(file);
  folder.write('more.mjs', says('more'));
  await server.untilLogged(({ event, handler }) => event === 'handler loaded' && handler === 'more');
  assert.equal(await ask(server), 'v3', 'only a reload misses a file');
});

test('an error in a timer of a linked module rolls its version back', async t => {
  const folder = newFolder({ 'r/1/mod.mjs': says('v1') });
  const later = "export function closed() { setTimeout(() => { throw new Error('later'); }); }";
  folder.write('r/2/mod.mjs', `${says('v2')}${later}`);
  const link = join(folder.path, 'current');
  point(link, 'r/1');
  const { server, untilSays } = await startWatching(t, link, 'v1');
  point(link, 'r/2');
  await untilSays('v2');
  await server.untilLogged(({ event, handler }) => event === 'handler rolled back' && handler === 'mod');
  assert.equal(await ask(server), 'v1');
});
