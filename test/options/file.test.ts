import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Configuration, readConfiguration } from '../../src/options/configuration.ts';
import type { Environment } from '../../src/options/environment.ts';
import { defaultFile } from '../../src/options/file.ts';
import { hyphenated } from '../../src/options/option.ts';
import { optionEntries } from '../../src/options/table.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const folder = temporaryFolder();
const path = join(folder, 'pollywog.json');

function read(argv: readonly string[] = [], env: Environment = {}, usual: string[] = []): Configuration {
  return readConfiguration(argv, env, ['echo', 'tpacket'], usual);
}

/** With this in the file. */
function readText(text: string, argv: readonly string[] = [], env: Environment = {}): Configuration {
  writeFileSync(path, text);
  return read(['--config', path, ...argv], env);
}

function readSettings(settings: unknown, argv: readonly string[] = [], env: Environment = {}): Configuration {
  return readText(JSON.stringify(settings), argv, env);
}

function refuses(text: string, sentence: string): void {
  assert.throws(() => readText(text), { name: 'UsageError', message: sentence });
}

describe('the configuration file', () => {
  test('takes long names, with words, numbers, lists, true and false as values', () => {
    const configuration = readSettings({
      port: [8080, '8081'],
      host: '::1',
      'max-message': '1MB',
      'idle-timeout': 90,
      'no-self': true,
      origin: ['https://a.example', 'https://b.example/'],
      'default-handler': 'tpacket',
    });
    assert.deepEqual(
      configuration.listeners.map(one => one.transport === 'tcp' && `${one.host} ${one.port}`),
      ['::1 8080', '::1 8081'],
    );
    assert.equal(configuration.maxMessage, 1024 * 1024);
    assert.equal(configuration.idleTimeout, 90_000);
    assert.equal(configuration.includeSender, false);
    assert.deepEqual(configuration.origins, ['https://a.example', 'https://b.example']);
    assert.equal(configuration.defaultHandler, 'tpacket');
    assert.equal(configuration.configFile, path);
  });

  test('may be an empty object, and may start with a byte order mark', () => {
    for (const text of ['{}', '\ufeff{}', ' {\r\n}\r\n']) {
      assert.deepEqual(readText(text), { ...read(), configFile: path, values: readText('{}').values });
    }
  });

  test('has a lower precedence than flags and environment, and a higher one than the defaults', () => {
    const settings = { 'max-message': '1MB', 'max-header': '2KB', 'max-buffered': '3KB' };
    const env = { POLLYWOG_MAX_MESSAGE: '4MB', POLLYWOG_MAX_HEADER: '5KB' };
    const { maxMessage, maxHeader, maxBuffered, pingInterval } = readSettings(
      settings,
      ['--max-message=7'],
      env,
    );
    assert.deepEqual([maxMessage, maxHeader, maxBuffered, pingInterval], [7, 5120, 3072, 25_000]);
    const noSelf = (value: boolean) => readSettings({ 'no-self': value }, [], { POLLYWOG_NO_SELF: 'false' });
    assert.equal(noSelf(true).includeSender, true);
  });

  test('replaces the default port with its listeners', () => {
    assert.deepEqual(readSettings({ listen: 'unix:/a' }).listeners, [{ transport: 'unix', path: '/a' }]);
    assert.equal(readSettings({ listen: 'unix:/a', port: 1 }).listeners.length, 2);
    assert.equal(readSettings({ listen: [], origin: [] }).listeners.length, 1);
  });
});

describe('the choice of the file', () => {
  const other = join(folder, 'other.json');

  test('is the first default path that exists, unless --config names one', () => {
    writeFileSync(path, '{"max-message": 1}');
    writeFileSync(other, '{"max-message": 2}');
    const missing = join(folder, 'missing.json');
    assert.equal(read([], {}, [missing, other, path]).configFile, other);
    assert.equal(read([], {}, [missing]).configFile, undefined);
    assert.equal(read(['--config', path], {}, [other]).maxMessage, 1);
    assert.equal(read([], { POLLYWOG_CONFIG: path }, [other]).maxMessage, 1);
    assert.equal(read(['--config', other], { POLLYWOG_CONFIG: path }).maxMessage, 2);
    assert.equal(read(['--config', 'auto'], { POLLYWOG_CONFIG: path }, [other]).maxMessage, 2);
    assert.equal(read(['--config', 'none'], {}, [other]).configFile, undefined);
  });

  test('fails if the named file is missing or unreadable', () => {
    const missing = join(folder, 'missing.json');
    const sentence = (why: string, name: string) =>
      `cannot read the configuration file ${JSON.stringify(name)}: ${why}`;
    const refusesFile = (name: string, why: string) =>
      assert.throws(() => read(['--config', name]), { name: 'UsageError', message: sentence(why, name) });
    refusesFile(missing, 'no such file; correct the path');
    refusesFile(
      join(import.meta.filename, 'a.json'),
      'part of the path is a file, not a folder; correct the path',
    );
    refusesFile(folder, 'it is not a regular file; choose another');
    refusesFile('/dev/zero', 'it is not a regular file; choose another');
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    refusesFile(pipe, 'it is not a regular file; choose another');
    writeFileSync(other, '');
    truncateSync(other, 1024 * 1024 + 1);
    refusesFile(other, 'it is larger than 1 MiB; choose another');
  });
});

describe('an error', () => {
  test('in the encoding names the byte and its offset', () => {
    writeFileSync(path, Buffer.from('{"data": "caf\u00e9"}', 'latin1'));
    assert.throws(() => readConfiguration(['--config', path], {}, []), {
      name: 'UsageError',
      message: `cannot read the configuration file ${JSON.stringify(path)}: it is not UTF-8: byte 0xe9 at offset 13; convert it, for instance with iconv`,
    });
    refuses(
      '{"data": "\\ud83d"}',
      `data in ${path} contains an unpaired surrogate, which is not a character; remove it`,
    );
  });

  test('in the syntax names line and column', () => {
    refuses(
      '{\n  "port": 80,\n}',
      `${path} is not valid JSON: line 3, column 1: expected a name in double quotes, not "}"`,
    );
    for (const text of ['[]', '"port"', 'null', '8080']) {
      refuses(text, `${path} must hold an object such as {"port": 8080}`);
    }
  });

  test('in a key suggests the closest spelling', () => {
    refuses('{"prot": 80}', `${path}: unknown option "prot"; did you mean "port"?`);
    refuses('{"maxMessage": 80}', `${path}: unknown option "maxMessage"; did you mean "max-message"?`);
    refuses('{"--port": 80}', `${path}: unknown option "--port"; did you mean "port"?`);
    refuses('{"__proto__": 80}', `${path}: unknown option "__proto__"; see --help`);
    refuses('{"": 80}', `${path}: unknown option ""; see --help`);
    for (const name of ['help', 'version', 'config']) {
      refuses(`{"${name}": true}`, `${path}: "${name}" is for the command line only; remove it`);
    }
  });

  test('in a value says what is expected', () => {
    refuses('{"port": 70000}', `port in ${path} must be a number from 0 to 65535, not 70000`);
    refuses('{"port": []}', `port in ${path} needs a value: a number from 0 to 65535`);
    refuses('{"port": [1, null]}', `port in ${path} must be a number from 0 to 65535, not null`);
    refuses('{"port": 80.5}', `port in ${path} must be a number from 0 to 65535, not 80.5`);
    refuses('{"no-self": "true"}', `no-self in ${path} must be true or false, not "true"`);
    refuses('{"max-message": [1]}', `max-message in ${path} must be a size such as 16MB or 512KB, not [1]`);
    refuses(
      '{"log-level": {"a": 1}}',
      `log-level in ${path} must be error, warn, info or debug, not {"a":1}`,
    );
    refuses(
      '{"default-handler": "chess"}',
      `default-handler in ${path} must be echo, tpacket or none, not "chess"`,
    );
  });
});

test('a renamed option is still read by its former key, but not beside its current one', () => {
  for (const [name, { alias = '', kind, default: fallback }] of optionEntries) {
    if (alias.length < 2) continue;
    const [current, former] = [hyphenated(name), hyphenated(alias)];
    const word = kind.show(fallback);
    assert.deepEqual(readSettings({ [former]: word }).values[name], fallback);
    refuses(
      JSON.stringify({ [former]: word, [current]: word }),
      `${former} in ${path} and ${current} in ${path} are the same option; keep one`,
    );
  }
});

test('the default file lists every option in table order and changes nothing', () => {
  const text = defaultFile();
  const expected = optionEntries.map(([name]) => hyphenated(name));
  assert.deepEqual(
    Object.keys(JSON.parse(text)),
    expected.filter(name => !['help', 'version', 'config'].includes(name)),
  );
  const { configFile, values, ...rest } = readText(text);
  const { configFile: _, values: defaultValues, ...defaultRest } = read();
  assert.deepEqual(rest, defaultRest);
  assert.deepEqual({ ...values, config: 'auto' }, defaultValues);
});
