import assert from 'node:assert/strict';
import { isAbsolute } from 'node:path';
import { test } from 'node:test';
import { defaultControlPath, defaultPaths } from '../../src/options/paths.ts';

const home = { HOME: '/home/ada' };

test('root uses the system’s folders, whatever its environment says', () => {
  const expected = {
    controlPath: '/run/pollywog/control.sock',
    pidFile: '/run/pollywog.pid',
    logFile: '/var/log/pollywog.log',
    recordings: '/var/lib/pollywog/recordings',
    configFiles: ['/etc/pollywog.json'],
  };
  assert.deepEqual(defaultPaths({}, 0), expected);
  assert.deepEqual(
    defaultPaths({ HOME: '/root', XDG_RUNTIME_DIR: '/run/user/0', XDG_CONFIG_HOME: '/c' }, 0),
    expected,
  );
});

test('a user’s files are in the XDG folders', () => {
  const env = { ...home, XDG_RUNTIME_DIR: '/run/user/7', XDG_STATE_HOME: '/s', XDG_CONFIG_HOME: '/c' };
  assert.deepEqual(defaultPaths(env, 7), {
    controlPath: '/run/user/7/pollywog.sock',
    pidFile: '/run/user/7/pollywog.pid',
    logFile: '/s/pollywog.log',
    recordings: '/s/pollywog/recordings',
    configFiles: ['/c/pollywog.json', '/etc/pollywog.json'],
  });
});

test('without absolute XDG folders, a user’s files are in the home directory', () => {
  for (const env of [
    home,
    { ...home, XDG_RUNTIME_DIR: '', XDG_STATE_HOME: 'state', XDG_CONFIG_HOME: './c' },
  ]) {
    assert.deepEqual(defaultPaths(env, 7), {
      controlPath: '/home/ada/.local/state/pollywog/control.sock',
      pidFile: '/home/ada/.local/state/pollywog.pid',
      logFile: '/home/ada/.local/state/pollywog.log',
      recordings: '/home/ada/.local/state/pollywog/recordings',
      configFiles: ['/home/ada/.config/pollywog.json', '/etc/pollywog.json'],
    });
  }
});

test('the paths are absolute even without a home directory and without user IDs', () => {
  assert.ok(isAbsolute(defaultControlPath({}, undefined)));
});
