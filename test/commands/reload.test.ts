import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listSettings, reloadConfiguration, setOption } from '../../src/commands/reload.ts';
import { readConfiguration } from '../../src/options/configuration.ts';
import type { Server } from '../../src/records/records.ts';
import { newFakeServer } from '../support/fakeSocket.ts';

const handlers = ['echo', 'broadcast'];
const from =
  (...argv: string[]) =>
  () =>
    readConfiguration(argv, {}, handlers);

function newServer(...argv: string[]): Server {
  const server = newFakeServer(...argv);
  return { ...server, handlers: new Map(handlers.map(name => [name, { name, message() {} }])) };
}

describe('reload', () => {
  test('reloads of two servers at the same time each read the configuration of their own server', async () => {
    const [frog, newt] = [newServer('--max-message', '16MB'), newServer('--max-message', '16MB')];
    const [ofFrog, ofNewt] = await Promise.all([
      reloadConfiguration(frog, from('--max-message', '1MB')),
      reloadConfiguration(newt, from('--max-message', '2MB')),
    ]);
    assert.deepEqual(ofFrog.changed, ['max-message 16MB → 1MB']);
    assert.deepEqual(ofNewt.changed, ['max-message 16MB → 2MB']);
  });

  test('applies the differences, and reports them as the user would write them', async () => {
    const server = newServer('--max-message', '16MB', '--origin', 'https://a.example');
    const next = from(
      '--max-message',
      '1MB',
      '--no-self',
      '--ping-interval',
      '0',
      '--default-handler',
      'broadcast',
    );
    assert.deepEqual(await reloadConfiguration(server, next), {
      changed: [
        'default-handler echo → broadcast',
        'no-self false → true',
        'origin https://a.example → none',
        'max-message 16MB → 1MB',
        'ping-interval 25s → 0',
      ],
      needsRestart: [],
    });
    const { maxMessage, includeSender, pingInterval, defaultHandler, origins } = server.configuration;
    assert.deepEqual(
      [maxMessage, includeSender, pingInterval, defaultHandler, origins],
      [1024 * 1024, false, 0, 'broadcast', []],
    );
    assert.deepEqual(await reloadConfiguration(server, next), { changed: [], needsRestart: [] });
  });

  test('leaves options that need a restart alone, and reports them each time', async () => {
    const server = newServer('-p', '1', '--data', '/a');
    const { listeners } = server.configuration;
    const next = from('-p', '2', '-p', '3', '--data', 'memory', '--daemon', '--max-connections', '5');
    const needsRestart = ['port 1 → 2,3', 'data /a → memory', 'daemon false → true'];
    assert.deepEqual(await reloadConfiguration(server, next), {
      changed: ['max-connections 0 → 5'],
      needsRestart,
    });
    assert.deepEqual(await reloadConfiguration(server, next), { changed: [], needsRestart });
    const { data, daemon, maxConnections } = server.configuration;
    assert.deepEqual([data, daemon, maxConnections], ['/a', false, 5]);
    assert.equal(server.configuration.listeners, listeners);
  });

  test('changes nothing if the configuration cannot be read', async () => {
    const server = newServer();
    const { configuration } = server;
    await assert.rejects(reloadConfiguration(server, from('--max-message', 'lots')), { name: 'UsageError' });
    assert.equal(server.configuration, configuration);
  });

  test('prepares everything before it changes anything, so one failure changes nothing', async () => {
    const server = newServer();
    const { configuration } = server;
    const steps: string[] = [];
    const step = (name: string, fails = false) => ({
      async prepare() {
        await null;
        steps.push(`${name} prepared`);
        assert.equal(server.configuration, configuration);
        if (fails) throw new Error(`${name} is broken`);
        return () => {
          steps.push(`${name} in place`);
          assert.notEqual(server.configuration, configuration);
          return [`${name} is new`];
        };
      },
    });
    server.reloadables.push(step('a'), step('b'), step('c', true));
    await assert.rejects(reloadConfiguration(server, from('--max-message', '1')), { message: 'c is broken' });
    assert.equal(server.configuration, configuration);
    assert.deepEqual(steps.splice(0), ['a prepared', 'b prepared', 'c prepared']);
    server.reloadables.pop();
    const { changed } = await reloadConfiguration(server, from('--max-message', '1'));
    assert.deepEqual(steps, ['a prepared', 'b prepared', 'a in place', 'b in place']);
    assert.deepEqual(changed, ['max-message 16MB → 1B', 'a is new', 'b is new']);
  });

  test('runs one at a time, and requests that come while one waits share it', async () => {
    const server = newServer();
    let reading = 0;
    let preparing = 0;
    server.reloadables.push({
      async prepare() {
        assert.equal(++preparing, 1);
        await new Promise(setImmediate);
        preparing--;
        return () => [];
      },
    });
    const readAgain = () => {
      reading++;
      return from('--max-message', `${reading}`)();
    };
    const first = reloadConfiguration(server, readAgain);
    while (preparing === 0) await new Promise(setImmediate);
    const [second, third] = [reloadConfiguration(server, readAgain), reloadConfiguration(server, readAgain)];
    const between = setOption(server, 'max-header', '1KB');
    assert.deepEqual((await first).changed, ['max-message 16MB → 1B']);
    assert.deepEqual((await second).changed, ['max-message 1B → 2B']);
    assert.equal(await third, await second);
    assert.deepEqual((await between).changed, ['max-header 16KB → 1KB']);
    assert.equal(reading, 2);
  });
});

describe('setOption', () => {
  test('sets one option until the next reload, which reports that it was set by hand', async () => {
    const server = newServer('--max-message', '2MB');
    assert.deepEqual(await setOption(server, 'max-message', '1MB'), {
      changed: ['max-message 2MB → 1MB'],
      needsRestart: [],
    });
    assert.equal(server.configuration.maxMessage, 1024 * 1024);
    const find = (name: string) => listSettings(server).find(setting => setting.name === name);
    assert.deepEqual(find('max-message'), {
      name: 'max-message',
      value: '1MB',
      isLive: true,
      isSetByHand: true,
    });
    const { changed } = await reloadConfiguration(server, from('--max-message', '2MB'));
    assert.deepEqual(changed, ['max-message 1MB (set by hand) → 2MB']);
    assert.equal(find('max-message')?.isSetByHand, false);
  });

  test('parses values like the environment', async () => {
    const server = newServer();
    await setOption(server, 'no-self', 'true');
    await setOption(server, 'origin', 'https://a.example, https://b.example');
    await setOption(server, 'default', 'broadcast');
    const { includeSender, origins, defaultHandler } = server.configuration;
    assert.deepEqual(
      [includeSender, origins, defaultHandler],
      [false, ['https://a.example', 'https://b.example'], 'broadcast'],
    );
  });

  test('knows a renamed option by its former name and value, too', async () => {
    const server = newServer();
    await setOption(server, 'default', 'broadcast');
    await setOption(server, 'greet-after', '3s');
    const { defaultHandler, greetingDelay } = server.configuration;
    assert.deepEqual([defaultHandler, greetingDelay], ['broadcast', 3000]);
    assert.deepEqual(
      listSettings(server, 'greet-after').map(({ name, value }) => [name, value]),
      [['greeting-delay', '3s']],
    );
  });

  test('refuses unknown options, invalid values, and options that need a restart', async () => {
    const server = newServer();
    const { configuration } = server;
    const refuses = (name: string, word: string, message: string) =>
      assert.rejects(setOption(server, name, word), { name: 'UsageError', message });
    await refuses('max-mesage', '1', 'unknown option "max-mesage"; did you mean max-message?');
    await refuses('help', 'true', 'unknown option "help"; get lists them all');
    await refuses(
      'port',
      '1',
      'port cannot change while the server runs; change the configuration and restart the server',
    );
    await refuses('max-message', 'lots', 'max-message must be a size such as 16MB or 512KB, not "lots"');
    await refuses('no-self', 'yes', 'no-self must be true or false, not "yes"');
    await refuses('default-handler', 'chess', 'default-handler must be echo, broadcast or none, not "chess"');
    assert.equal(server.configuration, configuration);
  });

  test('is prepared like a reload', async () => {
    const server = newServer();
    server.reloadables.push({ prepare: () => Promise.reject(new Error('not now')) });
    await assert.rejects(setOption(server, 'max-message', '1'), { message: 'not now' });
    assert.equal(server.configuration.maxMessage, 16 * 1024 * 1024);
  });
});

test('listSettings returns all options, and whether each can change', () => {
  const listed = listSettings(newServer('-p', '1', '-p', '2', '--history', '64KB', '--no-self'));
  const shown = Object.fromEntries(listed.map(({ name, value, isLive }) => [name, `${value} ${isLive}`]));
  assert.deepEqual(
    [shown['port'], shown['history'], shown['no-self'], shown['origin']],
    ['1,2 false', '64KB true', 'true true', ' true'],
  );
  assert.ok(!('help' in shown) && !('version' in shown) && 'config' in shown);
});
