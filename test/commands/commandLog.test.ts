/** The log of commands: each change, how it came in, and its outcome. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { commands } from '../../src/commands/commands.ts';
import { type CommandWay, commandWays, type OpenServer, openServer } from '../support/commandWays.ts';
import { connectRaw } from '../support/rawClient.ts';
import { untilLogged } from '../support/untilLogged.ts';

const limit = { timeout: 60_000 };

const ways: Readonly<Record<string, string>> = {
  'the command line': 'control socket',
  stdin: 'stdin',
  'HTTP, as JSON': 'HTTP',
  'HTTP, as a form': 'HTTP',
  'the spool': 'spool',
};

/** The log entries about commands, without their times. */
function commandEntries(server: OpenServer): Record<string, unknown>[] {
  const aboutCommands = /^(command |reload)/;
  return server
    .logged()
    .filter(({ event }) => aboutCommands.test(String(event)))
    .map(({ time: _, ...entry }) => entry);
}

function fromOf(way: CommandWay): RegExp {
  if (way.name === 'the spool') return /^file-\d+$/;
  return way.name.startsWith('HTTP') ? /^127\.0\.0\.1:\d+$/ : /^undefined$/;
}

for (const way of commandWays) {
  test(`each change made through ${way.name} is logged with its outcome`, limit, async t => {
    const server = await openServer(t);
    const client = await connectRaw(server.port);
    const call = (...words: string[]) => way.call(server, words);
    await call('set', 'max-message', '1MB');
    await call('set', 'max-message', 'big');
    await call('trace', 'all');
    await call('disconnect', '2', '4001', 'that is enough\n');
    await call('disconnect', '777');
    await call('reload');
    writeFileSync(server.tokenFile, 'short');
    await call('reload');
    // These change nothing, or are as frequent as clients' messages.
    for (const words of [
      ['list'],
      ['info'],
      ['why', '2'],
      ['get'],
      ['broadcast', 'secret words'],
      ['rooms'],
    ]) {
      await call(...words);
    }
    await call('stop');
    assert.equal(await server.exited, 0);
    const via = ways[way.name];
    const entries = commandEntries(server);
    for (const entry of entries) {
      assert.equal(entry['via'], via);
      assert.match(String(entry['from']), fromOf(way));
      delete entry['via'];
      delete entry['from'];
    }
    const reason = /^cannot read the token|^the token in .* must be one word/;
    assert.match(String(entries[6]?.['reason']), reason);
    assert.deepEqual(entries, [
      {
        level: 'info',
        event: 'command done',
        command: 'set',
        name: 'max-message',
        value: '1MB',
        changed: 'max-message 16MB → 1MB',
      },
      {
        level: 'info',
        event: 'command refused',
        command: 'set',
        name: 'max-message',
        value: 'big',
        reason: entries[1]?.['reason'],
      },
      { level: 'info', event: 'command done', command: 'trace', id: 'all', traced: 'all' },
      {
        level: 'info',
        event: 'command done',
        command: 'disconnect',
        id: '2',
        code: '4001',
        reason: 'that is enough\n',
        closed: 2,
      },
      {
        level: 'info',
        event: 'command refused',
        command: 'disconnect',
        id: '777',
        reason: 'there is no connection 777; pollywog list shows who is connected',
      },
      {
        level: 'info',
        event: 'reloaded',
        command: 'reload',
        changed: 'max-message 1MB (set by hand) → 16MB',
      },
      { level: 'error', event: 'reload failed', command: 'reload', reason: entries[6]?.['reason'] },
      { level: 'info', event: 'command done', command: 'stop', stopping: entries[7]?.['stopping'] },
    ]);
    assert.ok(!server.stderr().includes('secret words'));
    client.destroy();
  });
}

test('a reload by SIGHUP is logged like one by command', limit, async t => {
  const server = await openServer(t);
  server.child.kill('SIGHUP');
  await untilLogged(server, 'reloaded');
  writeFileSync(server.tokenFile, 'short');
  server.child.kill('SIGHUP');
  await untilLogged(server, 'reload failed');
  assert.deepEqual(
    commandEntries(server).map(({ event, via }) => [event, via]),
    [
      ['reloaded', 'SIGHUP'],
      ['reload failed', 'SIGHUP'],
    ],
  );
});

test('messages are logged at debug level, without their text', limit, async t => {
  const server = await openServer(t, '--log-level', 'debug');
  const client = await connectRaw(server.port);
  const [commandLine] = commandWays;
  for (const words of [
    ['broadcast', 'secret words'],
    ['publish', 'pond', 'secret words'],
    ['send', '2', 'secret words'],
    ['send', '777', 'secret words'],
    ['call', 'nothing', 'secret words'],
  ]) {
    await commandLine!.call(server, words);
  }
  const entries = commandEntries(server).map(({ level, event, command, id, channel, sent, name }) => [
    level,
    event,
    command,
    channel ?? id ?? name,
    sent,
  ]);
  assert.deepEqual(entries, [
    ['debug', 'command done', 'broadcast', undefined, 1],
    ['debug', 'command done', 'publish', 'pond', 0],
    ['debug', 'command done', 'send', '2', 1],
    ['debug', 'command refused', 'send', '777', undefined],
    ['debug', 'command refused', 'call', 'nothing', undefined],
  ]);
  assert.ok(!server.stderr().includes('secret words'));
  client.destroy();
});

test('exactly the commands that only read are not logged', () => {
  const silent = [...commands.values()].filter(({ logs }) => logs === undefined).map(({ name }) => name);
  assert.deepEqual(silent, [
    'list',
    'rooms',
    'presence',
    'info',
    'metrics',
    'channels',
    'history',
    'ping',
    'why',
    'watch',
    'get',
  ]);
});
