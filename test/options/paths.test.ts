import assert from 'node:assert/strict';
import { isAbsolute } from 'node:path';
import { test } from 'node:test';
import { defaultControlPath, defaultPaths } from '../../src/options/paths.ts';

const home = { HOME: '/home/ada' };

test('root has the system’s folders, whatever its environment says', () => {
  const expected = {
    controlPath: '/run/pollywog/control.sock',
    pidFile: '/run/pollywog.pid',
    logFile: '/var/log/pollywog.log',
    configFiles: ['/etc/pollywog.json'],
  };
  assert.deepEqual(defaultPaths({}, 0), expected);
  assert.deepEqual(
    defaultPaths({ HOME: '/root', XDG_RUNTIME_DIR: '/run/user/0', XDG_CONFIG_HOME: '/c' }, 0),
    expected,
  );
});

test('a user has the folders that XDG names', () => {
  const env = { ...home, XDG_RUNTIME_DIR: '/run/user/7', XDG_STATE_HOME: '/s', XDG_CONFIG_HOME: '/c' };
  assert.deepEqual(defaultPaths(env, 7), {
    controlPath: '/run/user/7/pollywog.sock',
    pidFile: '/run/user/7/pollywog.pid',
    logFile: '/s/pollywog.log',
    configFiles: ['/c/pollywog.json', '/etc/pollywog.json'],
  });
});

test('without them, and where they are not absolute, those in the home directory', () => {
  for (const env of [
    home,
    { ...home, XDG_RUNTIME_DIR: '', XDG_STATE_HOME: 'state', XDG_CONFIG_HOME: './c' },
  ]) {
    assert.deepEqual(defaultPaths(env, 7), {
      controlPath: '/home/ada/.local/state/pollywog/control.sock',
      pidFile: '/home/ada/.local/state/pollywog.pid',
      logFile: '/home/ada/.local/state/pollywog.log',
      configFiles: ['/home/ada/.config/pollywog.json', '/etc/pollywog.json'],
    });
  }
});

test('without a home directory, and without uids, they are absolute all the same', () => {
  assert.ok(isAbsolute(defaultControlPath({}, undefined)));
});
