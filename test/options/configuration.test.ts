import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Configuration, idleOptions, readConfiguration } from '../../src/options/configuration.ts';
import type { Environment } from '../../src/options/environment.ts';
import { UsageError } from '../../src/options/error.ts';
import { environmentName, flagName, optionEntries } from '../../src/options/table.ts';
import { defaults, maxHistoryBytes } from '../../src/protocol/limits.ts';

const handlers = ['echo', 'chat', 'tpacket'];

function read(argv: readonly string[] = [], env: Environment = {}): Configuration {
  return readConfiguration(argv, env, handlers);
}

function refuses(argv: readonly string[], sentence: string, env: Environment = {}): void {
  assert.throws(() => read(argv, env), { name: 'UsageError', message: sentence });
}

function tcp(host: string, port: number) {
  return { transport: 'tcp', host, port };
}

test('without any source, every option has its default', () => {
  const { values, ...rest } = read();
  for (const [name, { default: fallback }] of optionEntries) assert.deepEqual(values[name], fallback, name);
  assert.deepEqual(rest, {
    ...defaults,
    action: 'serve',
    listeners: [tcp('::', 8080)],
    defaultHandler: 'echo',
    refuseWith: 'close',
    authRecheck: 0,
    nick: 'any',
    includeSender: true,
    origins: [],
    authUrl: 'none',
    authCookie: [],
    handlers: '',
    allow: [],
    authKey: [],
    authIssuer: '',
    authAudience: '',
    tokenCookie: '',
    rooms: ['*'],
    watch: false,
    exec: [],
    execShared: [],
    execEnv: [],
    tlsCert: [],
    tlsKey: [],
    tlsCa: [],
    tlsClient: 'off',
    tlsOnly: false,
    trustProxy: [],
    data: '',
    fsync: 'everysec',
    history: { messages: 100, bytes: maxHistoryBytes },
    historyRotate: 16_777_216,
    historyAge: 0,
    historyKeep: 4,
    historyMemory: 64 * 1024 * 1024,
    presenceGrace: 5000,
    static: '',
    staticFallback: 'none',
    staticFollow: false,
    script: '',
    conformance: false,
    conformanceExclude: [],
    reportDir: 'reports/clients',
    faults: false,
    fault: [],
    record: '',
    recordMax: 100 * 1024 * 1024,
    recordCredentials: false,
    replay: '',
    compress: 'on',
    logLevel: 'info',
    logFormat: 'text',
    trace: false,
    inspect: false,
    recorder: 'on',
    maxMemory: values.maxMemory,
    maxChannels: 0,
    messageRate: { perSecond: 0, burst: 0 },
    connectRate: { perSecond: 0, burst: 0 },
    sockets: 'auto',
    control: 'auto',
    apiToken: 'none',
    publishToken: 'none',
    readToken: 'none',
    metricsToken: 'none',
    metricsListen: [],
    spool: '',
    stdin: false,
    daemon: false,
    pidFile: 'auto',
    logFile: 'auto',
    accessLog: 'none',
    configFile: undefined,
    setByHand: new Set(),
  });
});

describe('flags', () => {
  test('--no-self excludes the sender', () => {
    assert.equal(read(['--no-self']).includeSender, false);
    assert.equal(read(['--no-self', '-p', '1']).includeSender, false);
  });

  test('--help and --version take precedence over invalid options', () => {
    assert.equal(read(['-h']).action, 'help');
    assert.equal(read(['--version', '--port', 'x', '--help']).action, 'help');
    assert.equal(read(['-v']).action, 'version');
    assert.deepEqual(read(['-v', '-p', '1'], { POLLYWOG_PROT: 'x' }), { ...read(), action: 'version' });
  });

  test('take no value', () => {
    refuses(['--no-self=3'], '--no-self takes no value; remove "3"');
    refuses(['--no-self='], '--no-self takes no value; remove ""');
    refuses(['--help=false'], '--help takes no value; remove "false"');
    refuses(['-h1'], '--help takes no value; remove "1"');
    refuses(['-v=1'], '--version takes no value; remove "1"');
    for (const word of ['true', 'false', 'foo']) {
      for (const flag of ['--no-self', '--help', '-h', '-v']) {
        refuses([flag, word], `unexpected argument "${word}"; see --help`);
      }
    }
  });

  test('are refused if given twice', () => {
    refuses(['--no-self', '--no-self'], '--no-self is given twice; keep one');
    refuses(['-h', '--help'], '--help is given twice; keep one');
  });

  test('are true or false in the environment', () => {
    for (const word of ['1', 'true']) assert.equal(read([], { POLLYWOG_NO_SELF: word }).includeSender, false);
    for (const word of ['0', 'false', ''])
      assert.equal(read([], { POLLYWOG_NO_SELF: word }).includeSender, true);
    assert.equal(read(['--no-self'], { POLLYWOG_NO_SELF: 'false' }).includeSender, false);
    refuses([], 'POLLYWOG_NO_SELF must be true or false, not "yes"', { POLLYWOG_NO_SELF: 'yes' });
  });

  test('that only print something have no environment variable', () => {
    assert.throws(() => read([], { POLLYWOG_VERSION: '1' }), UsageError);
    assert.throws(() => read([], { POLLYWOG_HELP: '1' }), UsageError);
  });
});

test('--default-handler must name an existing handler, or any name with --handlers', () => {
  refuses(['--default-handler', 'quiz'], '--default-handler must be echo, chat, tpacket or none, not "quiz"');
  assert.equal(read(['--default-handler', 'quiz', '--handlers', 'here']).defaultHandler, 'quiz');
  assert.equal(read(['--default-handler', 'quiz'], { POLLYWOG_HANDLERS: 'here' }).defaultHandler, 'quiz');
  refuses(
    ['--default-handler', 'a quiz', '--handlers', 'here'],
    '--default-handler must be the name of a handler, not "a quiz"',
  );
});

describe('listeners', () => {
  test('are every host with every port, then the URLs', () => {
    const argv = ['-p', '1', '-p2', '-p=3', '--host', '::1', '--host=127.0.0.1', '--listen', 'unix:/a'];
    assert.deepEqual(read(argv).listeners, [
      ...[tcp('::1', 1), tcp('::1', 2), tcp('::1', 3)],
      ...[tcp('127.0.0.1', 1), tcp('127.0.0.1', 2), tcp('127.0.0.1', 3)],
      { transport: 'unix', path: '/a' },
    ]);
  });

  test('do not include the default port if there is a URL', () => {
    const unix = { transport: 'unix', path: '/a' };
    assert.deepEqual(read(['--listen', 'unix:/a']).listeners, [unix]);
    assert.deepEqual(read(['--listen', 'unix:/a', '-p', '1']).listeners, [tcp('::', 1), unix]);
    assert.deepEqual(read(['--listen', 'unix:/a', '--host', '::1']).listeners, [tcp('::1', 8080), unix]);
    assert.deepEqual(read(['--listen', 'unix:/a'], { PORT: '1' }).listeners, [tcp('::', 1), unix]);
  });

  test('of a server for conformance tests are port 9001 of the loopback interface by default', () => {
    assert.deepEqual(read(['--conformance']).listeners, [tcp('127.0.0.1', 9001)]);
    assert.deepEqual(read(['--conformance', '-p', '1']).listeners, [tcp('127.0.0.1', 1)]);
    assert.deepEqual(read(['--conformance', '--host', '::']).listeners, [tcp('::', 9001)]);
    assert.deepEqual(read(['--conformance'], { PORT: '1' }).listeners, [tcp('127.0.0.1', 1)]);
    assert.deepEqual(read(['--conformance', '--listen', 'tcp://:1']).listeners, [tcp('::', 1)]);
  });

  test('may not be duplicates, except on port 0', () => {
    refuses(['-p', '1', '-p', '1'], 'duplicate listener tcp://[::]:1; keep one');
    refuses(['-p8080', '--listen=tcp://[::]:8080'], 'duplicate listener tcp://[::]:8080; keep one');
    refuses(['--listen=unix:/a', '--listen=unix:///a'], 'duplicate listener unix:/a; keep one');
    assert.equal(read(['-p0', '-p0']).listeners.length, 2);
  });

  test('use PORT only without POLLYWOG_PORT and -p', () => {
    assert.deepEqual(read([], { PORT: '1' }).listeners, [tcp('::', 1)]);
    assert.deepEqual(read([], { PORT: '1', POLLYWOG_PORT: '2' }).listeners, [tcp('::', 2)]);
    assert.deepEqual(read([], { PORT: '1', POLLYWOG_PORT: '' }).listeners, [tcp('::', 1)]);
    assert.deepEqual(read(['-p', '3'], { PORT: '1', POLLYWOG_PORT: '2' }).listeners, [tcp('::', 3)]);
    assert.deepEqual(read([], { PORT: '' }).listeners, [tcp('::', 8080)]);
    refuses([], 'PORT must be a number from 0 to 65535, not "tcp://10.0.0.1:80"', {
      PORT: 'tcp://10.0.0.1:80',
    });
  });
});

describe('a Kubernetes service variable', () => {
  test('is ignored, although it starts with POLLYWOG_', () => {
    const service = {
      POLLYWOG_SERVICE_HOST: '10.0.0.1',
      POLLYWOG_SERVICE_PORT: '8080',
      POLLYWOG_SERVICE_PORT_HTTP: '8080',
      POLLYWOG_PORT: 'tcp://10.0.0.1:8080',
      POLLYWOG_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
      POLLYWOG_PORT_8080_TCP_PROTO: 'tcp',
      POLLYWOG_PORT_8080_TCP_PORT: '8080',
      POLLYWOG_PORT_8080_TCP_ADDR: '10.0.0.1',
      POLLYWOG_REDIS_SERVICE_HOST: '10.0.0.2',
      POLLYWOG_REDIS_PORT: 'tcp://10.0.0.2:6379',
      POLLYWOG_REDIS_PORT_6379_TCP_ADDR: '10.0.0.2',
    };
    assert.deepEqual(read([], service), read());
    assert.deepEqual(read([], { ...service, PORT: '9000' }).listeners, [tcp('::', 9000)]);
    assert.deepEqual(read([], { POLLYWOG_PORT: 'tcp://[fd00::1]:8080' }), read());
  });

  test('is not mistaken for one if its form differs', () => {
    for (const word of ['tcp://10.0.0.1', 'http://10.0.0.1:80', 'tcp://10.0.0.1:80/', ' tcp://10.0.0.1:80']) {
      assert.throws(() => read([], { POLLYWOG_PORT: word }), /^UsageError: POLLYWOG_PORT must be a number/);
    }
    assert.throws(() => read([], { POLLYWOG_PROT: 'tcp://10.0.0.1:80' }), /did you mean POLLYWOG_PORT/);
    assert.throws(() => read([], { POLLYWOG_SERVICE_HOSTS: '1' }), /unknown environment variable/);
  });
});

describe('an unknown option', () => {
  test('is answered with the closest spelling', () => {
    refuses(['--pot', '80'], 'unknown option --pot; did you mean --port?');
    refuses(['--pot=80'], 'unknown option --pot; did you mean --port?');
    refuses(['-port', '80'], 'unknown option -port; did you mean --port?');
    refuses(['--self'], 'unknown option --self; see --help');
    refuses(['--no-slef'], 'unknown option --no-slef; did you mean --no-self?');
    refuses(['--no-port'], 'unknown option --no-port; see --help');
    refuses(['--maxmessage=1'], 'unknown option --maxmessage; did you mean --max-message?');
  });

  test('is refused in every notation', () => {
    const words = [
      '--__proto__',
      '--__proto__=1',
      '--constructor',
      '--toString',
      '--__proto__.port',
      '--port.x',
    ];
    const more = [
      '-x',
      '-hv',
      '-ph',
      '-1',
      '-P',
      '---port',
      '--=x',
      '-=x',
      '-p80x',
      '-p80=1',
      '-é',
      '--PORT.',
    ];
    for (const word of [...words, ...more]) {
      assert.throws(() => read([word, '80']), { name: 'UsageError', message: /^unknown option / }, word);
    }
    assert.equal(({} as Record<string, unknown>)['port'], undefined);
  });

  test('is distinguished from an unusual value', () => {
    refuses(['--log-level=a\nb=c'], '--log-level must be error, warn, info or debug, not "a\\nb=c"');
    refuses(['-p=a\nb'], '--port must be a number from 0 to 65535, not "a\\nb"');
  });

  test('is quoted unless it is plain, and truncated if it is long', () => {
    refuses(['--a\u001b[2J'], 'unknown option "--a\\u001b[2J"; see --help');
    refuses([`--${'a'.repeat(100_000)}`], `unknown option "--${'a'.repeat(77)}...; see --help`);
  });

  test('may not be a word without a hyphen', () => {
    refuses(['foo'], 'unexpected argument "foo"; see --help');
    refuses(['-p', '1', '2'], 'unexpected argument "2"; see --help');
    refuses(['1e3'], 'unexpected argument "1e3"; see --help');
    refuses(['-'], 'unexpected argument "-"; see --help');
    refuses([''], 'unexpected argument ""; see --help');
    refuses(['--', '--help'], 'unexpected argument "--help"; see --help');
    refuses(['--', '-p', '1'], 'unexpected argument "-p"; see --help');
    assert.deepEqual(read(['-p', '1', '--']).listeners, [tcp('::', 1)]);
  });

  test('may not be a variable that starts with POLLYWOG_, unless it is empty', () => {
    refuses([], 'unknown environment variable POLLYWOG_PROT; did you mean POLLYWOG_PORT?', {
      POLLYWOG_PROT: '1',
    });
    refuses([], 'unknown environment variable POLLYWOG_X; see --help, or unset it', { POLLYWOG_X: '1' });
    refuses([], 'unknown environment variable POLLYWOG_; see --help, or unset it', { POLLYWOG_: '1' });
    assert.deepEqual(read([], { POLLYWOG_X: '', POLLYWOG: '1', OTHER_PORT: '1', PATH: '/' }), read());
  });
});

test('--stdin and --daemon contradict each other', () => {
  const sentence = '--stdin needs a server in the foreground, because a daemon has no stdin; remove --daemon';
  refuses(['--daemon', '--stdin'], sentence);
  refuses(['--daemon'], sentence, { POLLYWOG_STDIN: 'true' });
  assert.equal(read(['--daemon'], { POLLYWOG_STDIN: 'false' }).daemon, true);
});

describe('an option without effect', () => {
  const idle = (...argv: string[]) =>
    idleOptions(read(argv)).map(({ option, needs }) => `${option} ${needs}`);

  test('is one that needs another, which is not given', () => {
    assert.deepEqual(idle(), []);
    assert.deepEqual(idle('--static-fallback', 'index.html', '--static-follow'), [
      'static-fallback --static',
      'static-follow --static',
    ]);
    assert.deepEqual(idle('--auth-recheck', '1m', '--auth-cookie', 'sid'), [
      'auth-cookie --auth-url',
      'auth-recheck --auth-url',
    ]);
    assert.deepEqual(idle('--fsync', 'always', '--watch'), ['fsync --data', 'watch --handlers']);
  });

  test('has an effect with that other one, and no warning with its default', () => {
    assert.deepEqual(idle('--static', '.', '--static-fallback', 'index.html'), []);
    assert.deepEqual(idle('--auth-url', 'http://127.0.0.1/auth', '--auth-recheck', '1m'), []);
    assert.deepEqual(idle('--static-fallback', 'none', '--fsync', 'everysec', '--history-keep', '4'), []);
  });

  test('names an option of the table', () => {
    const names = optionEntries.map(([name]) => name as string);
    for (const [name, { needs }] of optionEntries)
      assert.ok(needs === undefined || (names.includes(needs) && needs !== name), name);
  });
});

test('any command line and environment either configure the server or throw a UsageError', () => {
  const words = [
    ...optionEntries.map(([name]) => flagName(name)),
    '-p',
    '-h',
    '--',
    '-',
    '=',
    '1',
    'true',
    '0x1',
    '',
  ];
  const word = fc.oneof(
    fc.constantFrom(...words),
    fc.string(),
    fc.string().map(end => `--port${end}`),
  );
  const variables = fc.constantFrom(
    ...optionEntries.map(([name]) => environmentName(name)),
    'PORT',
    '__proto__',
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), fc.dictionary(variables, fc.string()), (argv, env) => {
      try {
        assert.notEqual(read(argv, env).listeners.length, 0);
      } catch (error) {
        assert.ok(error instanceof UsageError, String(error));
      }
    }),
    { seed: 6455 },
  );
});
