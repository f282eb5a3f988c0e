import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { appUrl, peers } from '../../src/options/addresses.ts';
import { type Configuration, readConfiguration } from '../../src/options/configuration.ts';
import type { Environment } from '../../src/options/environment.ts';
import { hyphenated, spellings } from '../../src/options/option.ts';
import { allowRule } from '../../src/options/rules.ts';
import { environmentName, flagName, isFlag, optionEntries, serverOptions } from '../../src/options/table.ts';
import { maxHistoryBytes } from '../../src/protocol/limits.ts';

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

/** For each option that takes a value: two fit ones, where they show and as what, and one that is unfit. */
const valued: Record<
  string,
  {
    field: keyof Configuration;
    first: [string, unknown];
    second: [string, unknown];
    unfit: string;
    wants: string;
  }
> = {
  port: {
    field: 'listeners',
    first: ['9000', [tcp('::', 9000)]],
    second: ['0', [tcp('::', 0)]],
    unfit: '99999',
    wants: 'a number from 0 to 65535',
  },
  host: {
    field: 'listeners',
    first: ['127.0.0.1', [tcp('127.0.0.1', 8080)]],
    second: ['[::1]', [tcp('::1', 8080)]],
    unfit: '300.0.0.1',
    wants: 'an address such as 127.0.0.1, ::1 or localhost',
  },
  listen: {
    field: 'listeners',
    first: ['tcp://[::1]:81', [tcp('::1', 81)]],
    second: ['unix:/run/p.sock', [{ transport: 'unix', path: '/run/p.sock' }]],
    unfit: 'http://a:80',
    wants: 'a URL such as tcp://[::1]:8080 or unix:/run/pollywog.sock (a path of at most 103 bytes)',
  },
  ...folder('handlers', 'none'),
  fault: {
    field: 'fault',
    first: ['echo: reset', [{ handler: 'echo', words: ['reset'], text: 'reset' }]],
    second: [
      'chat:close=1011 reason="by, by"',
      [{ handler: 'chat', words: ['close=1011', 'reason=by, by'], text: 'close=1011 reason="by, by"' }],
    ],
    unfit: 'reset',
    wants: 'HANDLER: FAULT..., such as echo: delay=200ms after=3',
  },
  defaultHandler: {
    field: 'defaultHandler',
    first: ['chat', 'chat'],
    second: ['tpacket', 'tpacket'],
    unfit: 'cat',
    wants: 'echo, chat, tpacket or none',
  },
  origin: {
    field: 'origins',
    first: ['https://example.com/', ['https://example.com']],
    second: ['http://localhost:3000', ['http://localhost:3000']],
    unfit: 'example.com',
    wants:
      'an origin such as https://example.com, capacitor://localhost or null, without path; *.example.com; or same',
  },
  trustProxy: {
    field: 'trustProxy',
    first: ['unix', [peers.parse('unix')]],
    second: ['10.0.0.0/8', [peers.parse('10.0.0.0/8')]],
    unfit: '10.0.0.0/33',
    wants: 'an address or a network such as 127.0.0.1, 10.0.0.0/8 or fd00::/8, or unix',
  },
  ...files('tlsCert', 'tlsKey', 'tlsCa'),
  ...chosen('tlsClient', ['ask', 'require'], 'off, ask or require'),
  allow: {
    field: 'allow',
    first: ['/quiz: connect=token', [allowRule.parse('/quiz: connect=token')]],
    second: ['/a, b/*: publish=nobody', [allowRule.parse('/a, b/*: publish=nobody')]],
    unfit: 'quiz',
    wants: 'a rule such as "/channels/user-{user}: subscribe=user"',
  },
  ...files('authKey'),
  ...claims('authIssuer', 'authAudience'),
  tokenCookie: {
    field: 'tokenCookie',
    first: ['session', 'session'],
    second: ['none', ''],
    unfit: 'a b',
    wants: 'the name of a cookie, or none',
  },
  authUrl: {
    field: 'authUrl',
    first: ['http://127.0.0.1/auth', appUrl.parse('http://127.0.0.1/auth')],
    second: ['none', 'none'],
    unfit: 'https://example.com/auth',
    wants: appUrl.expected,
  },
  authCookie: {
    field: 'authCookie',
    first: ['PHPSESSID', ['PHPSESSID']],
    second: ['sid', ['sid']],
    unfit: 'a=b',
    wants: 'the name of a cookie such as PHPSESSID',
  },
  ...chosen('refuseWith', ['status', 'close'], 'close or status'),
  ...chosen('nick', ['user', 'any'], 'any or user'),
  rooms: {
    field: 'rooms',
    first: ['pond-*', ['pond-*']],
    second: ['none', ['none']],
    unfit: 'a\0b',
    wants: 'the name of a room, in which * stands for any characters, or none',
  },
  ...folder('data', 'memory'),
  ...folder('static', 'none'),
  staticFallback: {
    field: 'staticFallback',
    first: ['index.html', 'index.html'],
    second: ['app/main.html', 'app/main.html'],
    unfit: '../index.html',
    wants: 'the path of a file in the folder of --static, such as index.html, or none',
  },
  exec: program('exec'),
  execShared: program('execShared'),
  execEnv: {
    field: 'execEnv',
    first: ['LANG', ['LANG']],
    second: ['_x1', ['_x1']],
    unfit: 'A=1',
    wants: 'the name of an environment variable such as LANG',
  },
  ...chosen('fsync', ['always', 'no'], 'always, everysec or no'),
  history: {
    field: 'history',
    first: ['10', { messages: 10, bytes: maxHistoryBytes }],
    second: ['64KB', { messages: Number.MAX_SAFE_INTEGER, bytes: 65_536 }],
    unfit: 'lots',
    wants: 'a number of messages such as 100, or a size such as 64KB',
  },
  ...bounded('size', [
    'historyRotate',
    'historyMemory',
    'maxMessage',
    'maxBuffered',
    'maxMemory',
    'maxHeader',
    'recordMax',
  ]),
  messageRate: rateOption('messageRate'),
  connectRate: rateOption('connectRate'),
  ...bounded('count', [
    'maxSubscriptions',
    'maxChannels',
    'historyKeep',
    'maxConnections',
    'execMax',
    'authConcurrency',
  ]),
  maxPerAddress: {
    field: 'maxPerAddress',
    first: ['half', 'half'],
    second: ['20', 20],
    unfit: 'third',
    wants: 'a whole number such as 1000, or half',
  },
  ...bounded('time', [
    'handshakeTimeout',
    'historyAge',
    'presenceGrace',
    'greetingDelay',
    'pingInterval',
    'pongTimeout',
    'idleTimeout',
    'loadTimeout',
    'rollbackWindow',
    'handlerTimeout',
    'slowHandler',
    'keepAlive',
    'closeTimeout',
    'pollTimeout',
    'drainTimeout',
    'execGrace',
    'authTimeout',
    'authCache',
    'authRecheck',
  ]),
  config: {
    field: 'configFile',
    // What is in files: see file.test.ts.
    first: ['none', undefined],
    second: ['none', undefined],
    unfit: 'a\0b',
    wants: 'the path of a file, auto or none',
  },
  ...filed('control'),
  ...filed('apiToken'),
  ...filed('publishToken'),
  ...filed('readToken'),
  ...filed('metricsToken'),
  metricsListen: {
    field: 'metricsListen',
    first: ['tcp://127.0.0.1:9464', [tcp('127.0.0.1', 9464)]],
    second: ['unix:/run/metrics.sock', [{ transport: 'unix', path: '/run/metrics.sock' }]],
    unfit: 'metrics',
    wants: 'a URL such as tcp://[::1]:8080 or unix:/run/pollywog.sock (a path of at most 103 bytes)',
  },
  ...folder('spool', 'none'),
  ...folder('script', 'none'),
  ...folder('record', 'none'),
  ...folder('replay', 'none'),
  ...folder('reportDir', 'none'),
  conformanceExclude: {
    field: 'conformanceExclude',
    first: ['12.*', ['12.*']],
    second: ['utf8/*', ['utf8/*']],
    unfit: 'a b',
    wants: 'the number or name of a case, or a pattern such as 12.* or utf8/*',
  },
  ...filed('pidFile'),
  ...filed('logFile'),
  ...filed('accessLog'),
  ...chosen('compress', ['takeover', 'off'], 'off, on or takeover'),
  ...chosen('logLevel', ['error', 'debug'], 'error, warn, info or debug'),
  ...chosen('logFormat', ['json', 'json'], 'text or json'),
  ...chosen('recorder', ['off', 'off'], 'on or off'),
  ...chosen('sockets', ['stream', 'stream'], 'auto or stream'),
};

function rateOption(field: 'messageRate' | 'connectRate'): (typeof valued)[string] {
  return {
    field,
    first: ['50/s:100', { perSecond: 50, burst: 100 }],
    second: ['30/m', { perSecond: 0.5, burst: 1 }],
    unfit: '50',
    wants: 'a rate such as 50/s, 50/s:100 (and a burst) or 10/m, or 0 for no limit',
  };
}

function program(field: 'exec' | 'execShared'): (typeof valued)[string] {
  const cat = { name: 'cat', format: 'line', words: ['/bin/cat'], command: '/bin/cat' };
  const words = ['tee', '-a', 'a, b'];
  return {
    field,
    first: ['cat=/bin/cat', [cat]],
    second: ["t.2:json=tee -a 'a, b'", [{ name: 't.2', format: 'json', words, command: "tee -a 'a, b'" }]],
    unfit: 'cat',
    wants: serverOptions[field].kind.expected,
  };
}

function bounded(kind: 'size' | 'count' | 'time', fields: (keyof Configuration)[]): typeof valued {
  const samples = {
    size: {
      first: ['512KB', 524_288],
      second: ['0', Number.POSITIVE_INFINITY],
      wants: 'a size such as 16MB or 512KB',
    },
    count: { first: ['7', 7], second: ['0', 0], wants: 'a whole number such as 1000' },
    time: {
      first: ['90s', 90_000],
      second: ['0', 0],
      wants: 'a time such as 30s, 500ms or 2m (at most 24 days)',
    },
  } satisfies Record<string, { first: [string, unknown]; second: [string, unknown]; wants: string }>;
  return Object.fromEntries(fields.map(field => [field, { field, unfit: 'lots', ...samples[kind] }]));
}

function files(...fields: (keyof Configuration)[]): typeof valued {
  const [first, second]: [string, unknown][] = [
    ['a.pem', ['a.pem']],
    ['/b', ['/b']],
  ];
  const wants = 'the path of a file';
  return Object.fromEntries(
    fields.map(field => [field, { field, first: first!, second: second!, unfit: 'a\0b', wants }]),
  );
}

function claims(...fields: (keyof Configuration)[]): typeof valued {
  const wants = 'a text without control characters, or none';
  return Object.fromEntries(
    fields.map(field => [
      field,
      { field, first: ['https://a/', 'https://a/'], second: ['none', ''], unfit: 'a\0b', wants },
    ]),
  );
}

function chosen(field: keyof Configuration, [first, second]: [string, string], wants: string): typeof valued {
  return { [field]: { field, first: [first, first], second: [second, second], unfit: 'none', wants } };
}

function folder(field: keyof Configuration, none: string): typeof valued {
  const wants = `the path of a folder, or ${none}`;
  return { [field]: { field, first: ['/srv/a', '/srv/a'], second: [none, ''], unfit: 'a\0b', wants } };
}

function filed(field: keyof Configuration): typeof valued {
  const wants = 'the path of a file, auto or none';
  return { [field]: { field, first: ['/a/b', '/a/b'], second: ['none', 'none'], unfit: 'a\0b', wants } };
}

test('the test cases cover every option that takes a value', () => {
  const names = optionEntries.filter(([, option]) => !isFlag(option)).map(([name]) => name);
  assert.deepEqual(names.toSorted(), Object.keys(valued).toSorted());
});

for (const [name, option] of optionEntries) {
  const sample = valued[name];
  if (sample === undefined) continue;
  const flag = flagName(name);
  const variable = environmentName(hyphenated(name));
  const { field, unfit, wants } = sample;
  const [firstWord, firstValue] = sample.first;
  const [secondWord, secondValue] = sample.second;

  describe(flag, () => {
    test('is read from the command line, as two words or with =', () => {
      assert.deepEqual(read([flag, firstWord])[field], firstValue);
      assert.deepEqual(read([`${flag}=${firstWord}`])[field], firstValue);
      assert.deepEqual(read([flag, secondWord])[field], secondValue);
    });

    test('is read from the environment', () => {
      assert.deepEqual(read([], { [variable]: firstWord })[field], firstValue);
      assert.deepEqual(read([], { [variable]: secondWord })[field], secondValue);
      assert.deepEqual(read([], { [variable]: '' }), read());
    });

    test('from the command line overrides the environment', () => {
      assert.deepEqual(read([flag, secondWord], { [variable]: firstWord })[field], secondValue);
      assert.deepEqual(read([flag, secondWord], { [variable]: unfit })[field], secondValue);
    });

    test('with an invalid value is refused in every source', () => {
      refuses([flag, unfit], `${flag} must be ${wants}, not ${JSON.stringify(unfit)}`);
      refuses([`${flag}=${unfit}`], `${flag} must be ${wants}, not ${JSON.stringify(unfit)}`);
      refuses([], `${variable} must be ${wants}, not ${JSON.stringify(unfit)}`, { [variable]: unfit });
    });

    test('without a value is refused', () => {
      refuses([flag], `${flag} needs a value: ${wants}`);
      refuses([flag, '--'], `${flag} needs a value: ${wants}`);
      refuses([`${flag}=`], `${flag} needs a value: ${wants}`);
      refuses([flag, ''], `${flag} needs a value: ${wants}`);
      refuses([flag, '-1'], `${flag} must be ${wants}, not "-1"`);
      refuses([flag, '--no-self'], `${flag} must be ${wants}, not "--no-self"`);
    });

    test(option.repeatable ? 'may be repeated' : 'may be given once', () => {
      const twice = [flag, firstWord, flag, secondWord];
      if (option.repeatable) {
        const both = [...(firstValue as unknown[]), ...(secondValue as unknown[])];
        assert.deepEqual(read(twice)[field], both);
        const separator = option.kind.separator ?? ', ';
        const all = [firstWord, secondWord].join(separator);
        assert.deepEqual(read([], { [variable]: all })[field], both);
        const unfinished = firstWord + separator;
        refuses([], `${variable} needs a value: ${wants}`, { [variable]: unfinished });
      } else {
        refuses(twice, `${flag} is given twice; keep one`);
      }
    });
  });
}

test('every default is a valid value', () => {
  for (const [name, { kind, repeatable, default: fallback }] of optionEntries) {
    if (kind.placeholder === '') continue;
    for (const value of repeatable ? (fallback as unknown[]) : [fallback]) {
      assert.deepEqual(kind.parse(kind.show(value)), value, name);
    }
  }
});

/** The options that had another name in earlier versions, and what that name was. */
const renamed = optionEntries.flatMap(([name, { alias = '' }]) =>
  alias.length > 1 ? [{ name, current: hyphenated(name), former: hyphenated(alias) }] : [],
);

describe('a renamed option', () => {
  test('is still accepted by its former name, as a flag and in the environment', () => {
    assert.ok(renamed.length >= 5);
    for (const { name, former } of renamed) {
      const { field, first, unfit, wants } = valued[name]!;
      const [word, value] = first;
      const variable = environmentName(former);
      assert.deepEqual(read([`--${former}`, word])[field], value, former);
      assert.deepEqual(read([`--${former}=${word}`])[field], value, former);
      assert.deepEqual(read([], { [variable]: word })[field], value, former);
      refuses([`--${former}`, unfit], `--${former} must be ${wants}, not ${JSON.stringify(unfit)}`);
      refuses([], `${variable} must be ${wants}, not ${JSON.stringify(unfit)}`, { [variable]: unfit });
    }
  });

  test('is refused under both names in one source', () => {
    for (const { name, current, former } of renamed) {
      const [word] = valued[name]!.first;
      const [variable, formerVariable] = [environmentName(current), environmentName(former)];
      refuses(
        [`--${former}`, word, `--${current}`, word],
        `--${former} and --${current} are the same option; keep one`,
      );
      refuses(
        [`--${current}`, word, `--${former}`, word],
        `--${current} and --${former} are the same option; keep one`,
      );
      refuses([], `${variable} and ${formerVariable} are the same option; keep one`, {
        [variable]: word,
        [formerVariable]: word,
      });
    }
  });

  test('by its former name on the command line overrides its current name in the environment', () => {
    const { greetingDelay } = read(['--greet-after', '3s'], { POLLYWOG_GREETING_DELAY: '5s' });
    assert.equal(greetingDelay, 3000);
  });

  test('is not suggested by its former name', () => {
    refuses(['--greet-aftr', '1s'], 'unknown option --greet-aftr; see --help');
  });
});

test('a renamed value is still accepted', () => {
  assert.equal(read(['--sockets', 'public']).sockets, 'stream');
  assert.equal(read([], { POLLYWOG_SOCKETS: 'public' }).sockets, 'stream');
  refuses(['--sockets', 'constructor'], '--sockets must be auto or stream, not "constructor"');
});

test('-V prints the version, and so does -v, its former letter', () => {
  for (const letter of ['-V', '-v']) assert.equal(read([letter]).action, 'version');
});

test('no name and no letter belongs to two options', () => {
  const names = optionEntries.flatMap(([name, option]) => spellings(name, option));
  assert.equal(new Set(names).size, names.length);
  const letters = optionEntries.flatMap(([, { short, alias }]) =>
    [short, alias].filter(letter => letter?.length === 1),
  );
  assert.equal(new Set(letters).size, letters.length);
});
