import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { runsTypeScript } from '../../../src/handlers/modules/load.ts';
import { moduleStates } from '../../../src/handlers/modules/modules.ts';
import { configureLog } from '../../../src/log/log.ts';
import { starterThreshold } from '../../../src/protocol/limits.ts';
import { openServer, run as runCommand } from '../../support/commandWays.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { loadAll, newFolder, reload } from '../../support/modules.ts';
import { reload as reloadBySignal, serverScript, startServerFor } from '../../support/serverProcess.ts';

configureLog('error', 'text');
const fine = 'export function message() {}\n';

describe('names', () => {
  test("come from the module's exports, or else from the file's name", async () => {
    const folder = newFolder({
      'one.mjs': fine,
      'two.mjs': `export const name = 'deux';\n${fine}`,
      'three.mjs': `export default { names: ['trois', 'drei'], message() {} };`,
      'four.v4.mjs': fine,
    });
    const server = await loadAll(folder);
    assert.deepEqual([...server.handlers.keys()].toSorted(), ['deux', 'drei', 'echo', 'one', 'trois']);
    assert.equal(server.handlers.get('trois'), server.handlers.get('drei'));
  });

  test('are not taken from files with _ or a second dot, nor from other kinds of files', async () => {
    const folder = newFolder({
      'one.mjs': `import { word } from './_words.mjs'; export default { names: [word], message() {} };`,
      '_words.mjs': `export const word = 'shared';`,
      '.hidden.mjs': 'nonsense(',
      'one.test.mjs': 'nonsense(',
      'types.d.ts': 'nonsense(',
      'README.md': 'nonsense(',
      'folder/two.mjs': 'nonsense(',
    });
    assert.deepEqual([...(await loadAll(folder)).handlers.keys()], ['echo', 'shared']);
  });

  test('belong to one module each', async () => {
    const folder = newFolder({
      'a.mjs': `export const name = 'same';\n${fine}`,
      'b.mjs': `export const name = 'same';\n${fine}`,
    });
    const at = (name: string) => join(folder.path, name);
    await assert.rejects(loadAll(folder), {
      message: `${at('b.mjs')} is not loaded: the name same is already used by ${at('a.mjs')}; choose another`,
    });
    folder.remove('b.mjs');
    folder.write('a.js', fine);
    await assert.rejects(loadAll(folder), {
      message: `${at('a.js')} and ${at('a.mjs')} have the same module name, a; rename one`,
    });
  });
});

/** Each kind of broken module, and the end of the sentence about it. */
const broken: Readonly<Record<string, [source: string, sentence: RegExp]>> = {
  'a syntax error': ['\nexport function message() { x( }', /, line 2, is not loaded: it threw SyntaxError: /],
  'an error': ['\n\nthrow new Error("ow");', /, line 3, is not loaded: it threw Error: ow$/],
  'a thrown value that is not an error': ['throw null', / is not loaded: it threw null$/],
  'an end of the process': ['process.exit(0)', / is not loaded: it ended the process \(exit code 0\) while/],
  'a loop without an end': ['while (true);', / is not loaded: it took longer than 1 s$/],
  'an await without an end': [
    'await new Promise(() => {})',
    / is not loaded: it ended the process \(exit code 13/,
  ],
  'a process that is killed': [
    'process.kill(process.pid, 9)',
    / is not loaded: it ended the process \(SIGKILL\)/,
  ],
  'an import that does not exist': [
    'import x from "./nope.mjs"',
    / is not loaded: it threw Error: Cannot find module/,
  ],
  'no exports': ['', / is not loaded: it exports neither message\(connection, message\) nor a wire;/],
  'a message that is not a function': [
    'export const message = 1',
    / exports message as number; it must be a function$/,
  ],
  'an invalid list of names': [
    `export const names = 'a';\n${fine}`,
    / exports names that are not a list of strings$/,
  ],
  'an invalid name': [
    `export const name = 'a b';\n${fine}`,
    / is named "a b"; the name of a subprotocol has letters/,
  ],
  "a name of the server's": [
    `export const name = 'echo';\n${fine}`,
    /the name echo is already used by the server; choose another$/,
  ],
  'a state that throws': [
    `export function state() { nope(); }\n${fine}`,
    / its state threw ReferenceError: nope is/,
  ],
  'an invalid interval': [
    `export const tickEvery = -1;\n${fine}`,
    / exports a tickEvery that is not a number of milli/,
  ],
  'an interval that no timer can wait': [
    `export const tickEvery = 2 ** 31 - 0.5;\n${fine}`,
    / exports a tickEvery that is not a number of milliseconds from 1 to 2147483647$/,
  ],
  'an empty wire': ['export const wire = {}', / exports a wire without receive\(connection, bytes\)$/],
  'a wire that no connection would use': [
    'export const wire = { receive() {} }',
    / with neither matches\(firstBytes\) nor greet/,
  ],
};

describe('a module with', () => {
  for (const [what, [source, sentence]] of Object.entries(broken)) {
    // Only the endless loop may time out, even on a busy machine.
    const limit = what === 'a loop without an end' ? 1000 : 60_000;
    const fails = (attempt: Promise<unknown>) =>
      assert.rejects(attempt, ({ message }: Error) => {
        assert.match(message, sentence);
        return !message.includes('\n');
      });

    test(`${what} is not loaded`, async () => {
      const folder = newFolder({ 'bad.mjs': source });
      await fails(loadAll(folder, '--load-timeout', `${limit}ms`));
    });

    // `state` is called for new modules only.
    if (what === 'a state that throws') continue;
    test(`${what} replaces no version, and the reload changes nothing`, async () => {
      const folder = newFolder({ 'mod.mjs': fine });
      const server = await loadAll(folder, '--load-timeout', '60s');
      server.configuration = { ...server.configuration, loadTimeout: limit };
      const [before] = moduleStates(server);
      folder.write('mod.mjs', source);
      folder.write('new.mjs', fine);
      await fails(reload(server));
      assert.deepEqual([...server.handlers.keys()], ['echo', 'mod']);
      const [after, ...others] = moduleStates(server);
      assert.deepEqual(others, []);
      assert.deepEqual([after?.version, after?.loadedAt], [before?.version, before?.loadedAt]);
    });
  }
});

describe('a reload', () => {
  test('loads new and changed modules only, and removes the deleted ones', async () => {
    const folder = newFolder({ 'a.mjs': fine, 'b.mjs': fine, 'c.mjs': fine });
    const server = await loadAll(folder, '--rollback-window', '0');
    assert.deepEqual(await reload(server), []);
    folder.write('b.mjs', `export const name = 'bee';\n${fine}`);
    folder.write('d.mjs', fine);
    folder.remove('c.mjs');
    const at = (name: string) => join(folder.path, name);
    assert.deepEqual(await reload(server), [
      `${at('b.mjs')} has taken over 0 connections`,
      `${at('d.mjs')} is loaded`,
      `${at('c.mjs')} was deleted (0 connections closed)`,
    ]);
    assert.deepEqual([...server.handlers.keys()].toSorted(), ['a', 'bee', 'd', 'echo']);
    assert.deepEqual(
      moduleStates(server).map(({ name, names, file, state }) => [name, names, file, state]),
      [
        ['a', ['a'], at('a.mjs'), 'running'],
        ['b', ['bee'], at('b.mjs'), 'running'],
        ['d', ['d'], at('d.mjs'), 'running'],
      ],
    );
  });

  test('finds a module whose file has got another extension', async () => {
    const folder = newFolder({ 'a.mjs': fine });
    const server = await loadAll(folder);
    folder.remove('a.mjs');
    folder.write('a.js', `export default { message() {} };`);
    assert.deepEqual(await reload(server), [`${join(folder.path, 'a.js')} has taken over 0 connections`]);
  });

  test('that is refused shows in the state of its module', async () => {
    const folder = newFolder({ 'a.mjs': fine });
    const server = await loadAll(folder);
    folder.write('a.mjs', 'x(');
    await assert.rejects(reload(server));
    const [state] = moduleStates(server);
    assert.equal(state?.state, 'refused');
    assert.match(state?.reason ?? '', /is not loaded: it threw SyntaxError/);
    folder.write('a.mjs', `${fine}// better`);
    await reload(server);
    assert.deepEqual(
      [moduleStates(server)[0]?.state, moduleStates(server)[0]?.reason],
      ['on probation', undefined],
    );
  });
});

describe('TypeScript', () => {
  test('is loaded if this Node runs it, and otherwise refused with a sentence', async () => {
    const folder = newFolder({
      'typed.ts': 'export default { message(_: unknown): void {} };',
    });
    if (runsTypeScript()) assert.ok((await loadAll(folder)).handlers.has('typed'));
    else
      await assert.rejects(
        loadAll(folder),
        / is TypeScript, which this Node \([\d.]+\) does not run; use Node /,
      );
  });
});

describe('the server', () => {
  test('does not start with a broken module: it prints a sentence and exits with 1', async () => {
    const folder = newFolder({ 'bad.mjs': '\nlet x = ;' });
    assert.deepEqual(await run('--handlers', folder.path), {
      code: 1,
      errors: `pollywog: ${join(folder.path, 'bad.mjs')}, line 2, is not loaded: it threw SyntaxError: Unexpected token ';'\n`,
    });
  });

  test('does not start without the folder, or with an unknown default handler: it exits with 2', async () => {
    const missing = await run('--handlers', '/nowhere/at/all');
    assert.deepEqual(missing, {
      code: 2,
      errors: 'pollywog: --handlers must be a readable folder, not "/nowhere/at/all": no such folder\n',
    });
    const folder = newFolder({ 'quiz.mjs': fine });
    assert.deepEqual(await run('--handlers', join(folder.path, 'quiz.mjs')), {
      code: 2,
      errors: `pollywog: --handlers must be a readable folder, not "${folder.path}/quiz.mjs": it is a file, or a part of the path is\n`,
    });
    const odd = await run('--handlers', folder.path, '--default-handler', 'quizz');
    assert.deepEqual([odd.code, odd.errors.includes('--default-handler must be one of echo, ')], [2, true]);
  });

  test('reloads all modules or none at SIGHUP, and logs the outcome', async t => {
    const folder = newFolder({ 'mod.mjs': fine, 'other.mjs': fine });
    const server = await startServerFor(t, '--handlers', folder.path, '--default-handler', 'other');
    const at = (name: string) => join(folder.path, name);
    folder.write('mod.mjs', 'export function message( {');
    folder.write('other.mjs', `${fine}// changed`);
    server.child.kill('SIGHUP');
    const { reason } = await server.untilLogged(({ event }) => event === 'reload failed');
    assert.match(String(reason), /mod\.mjs, line 1, is not loaded: it threw SyntaxError/);
    assert.ok(!server.logged().some(({ event }) => event === 'handler swapped'));

    folder.remove('mod.mjs');
    server.child.kill('SIGHUP');
    const { changed } = await server.untilLogged(({ event }) => event === 'reloaded');
    assert.equal(
      changed,
      `${at('other.mjs')} has taken over 0 connections; ${at('mod.mjs')} was deleted (0 connections closed)`,
    );

    folder.remove('other.mjs');
    server.child.kill('SIGHUP');
    const isSo = (entry: Record<string, unknown>) =>
      String(entry['reason']).startsWith('--default-handler names other, ');
    await server.untilLogged(isSo);
  });

  test('reloads with --default-handler none', async t => {
    const folder = newFolder({ 'mod.mjs': fine });
    const server = await startServerFor(t, '--handlers', folder.path, '--default-handler', 'none');
    assert.equal((await reloadBySignal(server))['event'], 'reloaded');
    folder.write('mod.mjs', `${fine}// changed`);
    assert.match(String((await reloadBySignal(server))['changed']), /mod\.mjs has taken over 0 connections$/);
  });

  test('takes a fault for a module that is added in the same reload, and refuses to lose that module', async t => {
    const folder = newFolder({ 'mod.mjs': fine });
    const config = join(newFolder({}).path, 'pollywog.json');
    writeFileSync(config, '{}');
    const server = await startServerFor(t, '--handlers', folder.path, '--config', config);
    folder.write('late.mjs', fine);
    writeFileSync(config, JSON.stringify({ fault: 'late: delay=1ms' }));
    assert.match(
      String((await reloadBySignal(server))['changed']),
      /^fault none → late: delay=1ms; .* is loaded$/,
    );
    folder.remove('late.mjs');
    assert.equal(
      (await reloadBySignal(server))['reason'],
      '--fault names late, but no handler would have that name; add its module, or name another handler',
    );
  });

  test('answers `set` with the reason, not with an internal error, while a module is broken', async t => {
    const folder = newFolder({ 'mod.mjs': fine });
    const server = await openServer(t, '--handlers', folder.path);
    folder.write('mod.mjs', 'export function message( {');
    const told = await runCommand(['--control', server.control, 'set', 'max-message', '1MB']);
    assert.equal(told.exit, 1);
    assert.match(told.stderr, /mod\.mjs, line 1, is not loaded: it threw SyntaxError/);
    assert.deepEqual(
      server.logged().filter(({ event }) => event === 'command failed'),
      [],
    );
  });

  test('lets the starter start the processes that test modules once it is large, with the same outcomes', async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const folder = newFolder({
      'large.mjs': `const memory = Buffer.alloc(${starterThreshold}, 1);\nexport const message = () => memory.length;\n`,
    });
    const server = await startServerFor(t, '--handlers', folder.path, '--load-timeout', '2s');
    const parents = join(folder.path, 'parents.txt');
    const noting = `import { appendFileSync } from 'node:fs';
      appendFileSync(${JSON.stringify(parents)}, process.pid + ' ' + process.ppid + '\\n');\n`;
    const seen = () => readFileSync(parents, 'utf8').trim().split('\n');
    const isTriedElsewhere = () => {
      const [tried = ''] = seen().slice(-2);
      const [own, parent] = tried.split(' ').map(Number);
      return own !== server.pid && parent !== server.pid && parentOf(parent!) === server.pid;
    };
    let reloads = 0;
    const reloadWith = async (source: string) => {
      folder.write('tried.mjs', source);
      server.child.kill('SIGHUP');
      reloads++;
      const outcomes = () =>
        server.logged().filter(({ event }) => event === 'reloaded' || event === 'reload failed');
      await server.untilLogged(() => outcomes().length === reloads);
      return String(outcomes().at(-1)!['reason']);
    };
    do await reloadWith(`${noting}${fine}// ${reloads}`);
    while (!isTriedElsewhere());
    assert.match(
      await reloadWith('export function message( {'),
      /tried\.mjs, line 1, is not loaded: it threw Syntax/,
    );
    assert.match(await reloadWith('process.exit(3);'), /ended the process \(exit code 3\) while loading/);
    assert.match(await reloadWith('while (true);'), /took longer than 2 s/);
  });

  test('takes the process that tries a module with it, even if the server is killed', async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const folder = newFolder();
    const server = await startServerFor(t, '--handlers', folder.path, '--watch', '--load-timeout', '2s');
    folder.write('endless.mjs', 'while (true);');
    const child = await untilChildOf(server.pid);
    await server.kill();
    await untilGone(child);
  });
});

async function run(...options: string[]): Promise<{ code: number; errors: string }> {
  const child = spawn(process.execPath, [serverScript, '-p', '0', ...options], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  const [code] = await once(child, 'close');
  return { code, errors };
}

/** The first child of this process, from Linux's /proc. */
async function untilChildOf(pid: number): Promise<number> {
  for (;;) {
    for (const name of readdirSync('/proc')) {
      if (/^\d+$/.test(name) && parentOf(Number(name)) === pid) return Number(name);
    }
    await new Promise(setImmediate);
  }
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1]);
  } catch {
    return undefined;
  }
}

async function untilGone(pid: number): Promise<void> {
  const isThere = () => {
    const stat = parentOf(pid) === undefined ? '' : readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Z: a zombie, which has ended and waits for its parent.
    return stat !== '' && !/\) Z /.test(stat);
  };
  while (isThere()) await new Promise(resolve => setTimeout(resolve, 20));
}
