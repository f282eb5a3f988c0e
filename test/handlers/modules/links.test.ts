/** Deployments that switch symbolic links: a reload runs the file that the path resolves to now, and reports it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { moduleStates } from '../../../src/handlers/modules/modules.ts';
import { configureLog } from '../../../src/log/log.ts';
import type { Server } from '../../../src/records/records.ts';
import { connect, loadAll, newFolder, reload } from '../../support/modules.ts';

configureLog('error', 'text');

const says = (text: string) => `export function message(connection) { connection.send('${text}'); }\n`;
const saysHelper = `import { word } from './_word.mjs';
  export function message(connection) { connection.send(word); }\n`;

/** Switches the link in one step, as `mv -T` does. */
function point(link: string, target: string): void {
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(target, `${link}.new`);
  renameSync(`${link}.new`, link);
}

/** The module's answer to a new connection. */
function ask(server: Server, name = 'mod'): string | undefined {
  const client = connect(server, name);
  client.say('x');
  return client.heard()[0];
}

const realPath = (server: Server) => moduleStates(server)[0]?.realPath;

describe('a reload through a switched link', () => {
  test('runs the new release and names its file', async () => {
    const folder = newFolder({ 'r/1/h/mod.mjs': says('one'), 'r/2/h/mod.mjs': says('two') });
    point(join(folder.path, 'current'), 'r/1');
    const path = join(folder.path, 'current/h');
    const server = await loadAll({ path });
    assert.equal(ask(server), 'one');
    assert.deepEqual(await reload(server), [], 'nothing was switched');
    point(join(folder.path, 'current'), 'r/2');
    const now = join(folder.path, 'r/2/h/mod.mjs');
    assert.deepEqual(await reload(server), [`${path}/mod.mjs (now ${now}) has taken over 1 connection`]);
    assert.deepEqual([ask(server), realPath(server)], ['two', now]);
  });

  test('works after the old release is deleted, and can return to an earlier release', async () => {
    const folder = newFolder({ 'r/1/mod.mjs': says('one') });
    const link = join(folder.path, 'current');
    point(link, 'r/1');
    const server = await loadAll({ path: link });
    for (const [name, text] of Object.entries({ 2: 'two', 3: 'three', 1: 'one again' })) {
      rmSync(join(folder.path, 'r'), { recursive: true });
      folder.write(`r/${name}/mod.mjs`, says(text));
      point(link, `r/${name}`);
      await reload(server);
      assert.equal(ask(server), text);
    }
  });

  test('imports the files of the new release even if the module itself did not change', async () => {
    const folder = newFolder({
      'r/1/mod.mjs': saysHelper,
      'r/1/_word.mjs': "export const word = 'one'",
      'r/2/mod.mjs': saysHelper,
      'r/2/_word.mjs': "export const word = 'two'",
    });
    const link = join(folder.path, 'current');
    point(link, join(folder.path, 'r/1'));
    const server = await loadAll({ path: link });
    assert.equal(ask(server), 'one');
    point(link, join(folder.path, 'r/2'));
    await reload(server);
    assert.equal(ask(server), 'two');
  });

  test('follows the ..data link of a Kubernetes volume', async () => {
    const folder = newFolder();
    const mount = (name: string, text: string) => {
      folder.write(`..${name}/mod.mjs`, saysHelper);
      folder.write(`..${name}/_word.mjs`, `export const word = '${text}'`);
      point(join(folder.path, '..data'), `..${name}`);
    };
    mount('2026_01', 'one');
    for (const file of ['mod.mjs', '_word.mjs']) symlinkSync(`..data/${file}`, join(folder.path, file));
    const server = await loadAll(folder);
    assert.equal(ask(server), 'one');
    mount('2026_02', 'two');
    rmSync(join(folder.path, '..2026_01'), { recursive: true });
    await reload(server);
    assert.equal(ask(server), 'two');
  });

  test('follows a file that becomes a link, is switched, and becomes a file again', async () => {
    const folder = newFolder({
      'h/mod.mjs': says('a file'),
      'one.mjs': says('one'),
      'two.mjs': says('two'),
    });
    const file = join(folder.path, 'h/mod.mjs');
    const server = await loadAll({ path: join(folder.path, 'h') });
    assert.equal(ask(server), 'a file');
    for (const text of ['one', 'two', 'one']) {
      point(file, `../${text}.mjs`);
      await reload(server);
      assert.equal(ask(server), text);
    }
    folder.write('one.mjs', says('rewritten'));
    await reload(server);
    assert.equal(ask(server), 'rewritten');
    folder.write('h/mod.mjs', says('a file again'));
    await reload(server);
    assert.equal(ask(server), 'a file again');
  });

  test('follows a folder that becomes a link', async () => {
    const folder = newFolder({ 'h/mod.mjs': says('a folder'), 'r/mod.mjs': says('a link') });
    const path = join(folder.path, 'h');
    const server = await loadAll({ path });
    renameSync(path, `${path}.old`);
    symlinkSync('r', path);
    await reload(server);
    assert.equal(ask(server), 'a link');
  });

  test('is refused if Node would load another file for that path', async () => {
    // Node caches how it resolved a link at the first import, for good.
    const folder = newFolder({ 'mod.mjs': says('mod'), 'target.mjs': says('stale'), 'r/2.mjs': '' });
    unlinkSync(join(folder.path, 'r/2.mjs'));
    symlinkSync('../target.mjs', join(folder.path, 'r/mod.mjs'));
    await import(join(folder.path, 'r/mod.mjs'));
    const link = join(folder.path, 'h');
    symlinkSync('r', link);
    unlinkSync(join(folder.path, 'r/mod.mjs'));
    folder.write('r/mod.mjs', says('fresh'));
    await assert.rejects(
      loadAll({ path: link }),
      /mod\.mjs was a link to .*target\.mjs earlier, .* restart the server$/,
    );
  });

  test('is refused while a file is a dangling link, and the old version stays', async () => {
    const folder = newFolder({ 'one.mjs': says('one'), 'h/x': '' });
    const path = join(folder.path, 'h');
    point(join(path, 'mod.mjs'), '../one.mjs');
    const server = await loadAll({ path });
    point(join(path, 'mod.mjs'), '../gone.mjs');
    await assert.rejects(reload(server), {
      message: `${path}/mod.mjs is not loaded: it is a dangling link`,
    });
    point(join(path, 'mod.mjs'), 'mod.mjs');
    await assert.rejects(reload(server), /dangling link$/, 'a link to itself');
    assert.equal(ask(server), 'one');
  });
});

test('a FIFO with the name of a module is refused at once', async () => {
  const folder = newFolder({ 'mod.mjs': says('one') });
  const server = await loadAll(folder);
  execFileSync('mkfifo', [join(folder.path, 'pipe.mjs')]);
  mkdirSync(join(folder.path, 'z.mjs'));
  await assert.rejects(reload(server), {
    message: `${folder.path}/pipe.mjs is not loaded: it is not a regular file`,
  });
  unlinkSync(join(folder.path, 'pipe.mjs'));
  await assert.rejects(reload(server), {
    message: `${folder.path}/z.mjs is not loaded: it is not a regular file`,
  });
});

test('a CommonJS module can be reloaded', async () => {
  const folder = newFolder();
  const write = (text: string) =>
    writeFileSync(join(folder.path, 'mod.js'), `exports.message = connection => connection.send('${text}');`);
  write('one');
  const server = await loadAll(folder);
  assert.equal(ask(server), 'one');
  write('two');
  await reload(server);
  assert.equal(ask(server), 'two');
});

describe('an imported file is loaded once', () => {
  const isStale =
    /mod\.mjs still uses the old (\S+): files that a module imports are loaded once; restart the server to reload them$/;

  test('so a reload names the imported files that have changed since', async () => {
    const folder = newFolder({
      'mod.mjs': saysHelper,
      '_word.mjs': "export { word } from './_more.mjs?x=1'",
      '_more.mjs': "export const word = 'one'",
    });
    const server = await loadAll(folder);
    assert.deepEqual(await reload(server), []);
    folder.write('_more.mjs', "export const word = 'two'");
    for (let count = 0; count < 2; count++) {
      const [line = ''] = await reload(server);
      assert.equal(isStale.exec(line)?.[1], join(folder.path, '_more.mjs'));
    }
    folder.write('mod.mjs', `${saysHelper}// changed`);
    assert.match((await reload(server)).join('\n'), /has taken over .*\n.* still uses the old /);
    assert.equal(ask(server), 'one');
    folder.write('_more.mjs', "export const word = 'one'");
    assert.deepEqual(await reload(server), []);
  });

  test('so a reload names the imported links that have been switched since', async () => {
    const folder = newFolder({
      'h/mod.mjs': "import { word } from './lib/word.mjs'; export const message = it => it.send(word);",
      'lib-1/word.mjs': "export const word = 'one'",
      'lib-2/word.mjs': "export const word = 'two'",
    });
    const path = join(folder.path, 'h');
    point(join(path, 'lib'), '../lib-1');
    const server = await loadAll({ path });
    point(join(path, 'lib'), '../lib-2');
    const [line = ''] = await reload(server);
    assert.equal(isStale.exec(line)?.[1], join(path, 'lib/word.mjs'));
    assert.equal(ask(server), 'one');
  });

  test('even if a release folder is used again', async () => {
    const folder = newFolder({ 'r/a/mod.mjs': saysHelper, 'r/b/mod.mjs': saysHelper });
    const link = join(folder.path, 'current');
    const deploy = (name: string, word: string) => {
      folder.write(`r/${name}/_word.mjs`, `export const word = '${word}'`);
      point(link, `r/${name}`);
    };
    deploy('a', 'one');
    const server = await loadAll({ path: link });
    deploy('b', 'two');
    assert.equal((await reload(server)).length, 1);
    assert.equal(ask(server), 'two');
    deploy('a', 'three');
    const [, line = ''] = await reload(server);
    assert.equal(isStale.exec(line)?.[1], join(folder.path, 'r/a/_word.mjs'));
    assert.equal(ask(server), 'one', 'as it says');
  });
});
