import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openApi } from '../../src/commands/api.ts';
import {
  commands,
  findCommand,
  parseCommandLine,
  parseNamed,
  parseWords,
  usage,
} from '../../src/commands/commands.ts';
import { commandHelp, commandLines, helpOn, helpOverview } from '../../src/commands/help.ts';
import { isChapter, readPage, subjects } from '../../src/manual/pages.ts';

const bytes = Buffer.from([0, 255]);
const noBytes = () => assert.fail('no file was named');

function words(line: string, given?: Buffer): Record<string, unknown> {
  const [name = '', ...rest] = line.split(' ');
  return { ...parseWords(findCommand(name), rest, { bytes: given }).parameters };
}

function named(name: string, given: Record<string, unknown>): Record<string, unknown> {
  return { ...parseNamed(findCommand(name), given).parameters };
}

const usageError = (message: string | RegExp) => ({ name: 'UsageError', message });

describe('a call as words', () => {
  test('takes the options of the command, wherever they stand, and refuses those of others', () => {
    const { call } = parseCommandLine('publish --event=paid orders --as json 1 --ttl 60 2', noBytes);
    assert.deepEqual(
      { ...call.parameters },
      { channel: 'orders', text: '1 2', as: 'json', event: 'paid', ttl: 60_000, key: undefined },
    );
    assert.equal(parseCommandLine('forget orders --purge', noBytes).call.parameters['purge'], true);
    assert.throws(
      () => parseCommandLine('send 7 hi --event paid', noBytes),
      usageError('--event is not an option of send; usage: send ID|@NICK TEXT'),
    );
    assert.throws(
      () => parseCommandLine('publish orders x --as xml', noBytes),
      usageError(/^as must be text or json/),
    );
    assert.throws(
      () => parseCommandLine('publish orders x --ttl soon', noBytes),
      usageError(/^ttl must be a time/),
    );
  });

  test('gives each parameter one word in order, and the last one the rest', () => {
    assert.deepEqual(words('send 7 hello there'), { id: 7, text: 'hello there' });
    assert.deepEqual(words('disconnect 7'), { id: 7, code: undefined, reason: undefined });
    assert.deepEqual(words('disconnect 7 4000 go home'), { id: 7, code: 4000, reason: 'go home' });
    assert.deepEqual(words('send 7 '), { id: 7, text: '' });
    assert.deepEqual(words('get '), { name: undefined });
  });

  test('can have bytes instead of the text', () => {
    assert.deepEqual(words('send 7', bytes), { id: 7, bytes });
    assert.deepEqual(words('broadcast', bytes), { bytes });
    assert.throws(
      () => words('broadcast hello', bytes),
      usageError('unexpected argument "hello"; usage: broadcast TEXT'),
    );
    assert.throws(() => words('list', bytes), usageError('list takes no bytes; usage: list'));
  });

  const refused: [string, string | RegExp][] = [
    [
      'send',
      /^missing parameter id: a connection id, such as 7 or #812, a nick, such as @ada, or a user, .*; usage: send ID\|@NICK TEXT$/,
    ],
    ['send 7', 'missing parameter text: a text; usage: send ID|@NICK TEXT'],
    ['send seven hi', /^id must be a connection id, .* not "seven"$/],
    ['send -7 hi', /^id must be/],
    ['send 7.0 hi', /^id must be/],
    ['send 1e1 hi', /^id must be/],
    ['send 9999999999 hi', /^id must be/],
    ['send @ hi', /^id must be/],
    [`send @${'x'.repeat(200)} hi`, /^id must be .*\.\.\.$/],
    ['list all', 'unexpected argument "all"; usage: list'],
    ['disconnect 7 1005', /^code must be a close code/],
    ['disconnect 7 1015', /^code must be a close code/],
    ['disconnect 7 5000', /^code must be a close code/],
    [
      'disconnect 7 1006',
      'code must be a close code, 1000 to 1003, 1007 to 1014 or 3000 to 4999 (no other may be sent), not "1006"',
    ],
    ['disconnect 7 1004', /^code must be a close code/],
    ['disconnect 7 2999', /^code must be a close code/],
    [`disconnect 7 1000 ${'\u00e9'.repeat(62)}`, /^reason must be a reason of at most 123 bytes/],
  ];
  for (const [line, message] of refused) {
    test(`${line.slice(0, 40)} is refused [7.4.1-4, 7.4.1-6]`, () =>
      assert.throws(() => words(line), usageError(message)));
  }
});

describe('a call by parameter names', () => {
  test('equals the same call as words', () => {
    assert.deepEqual(named('send', { id: 7, text: 'hi' }), words('send 7 hi'));
    assert.deepEqual(named('send', { text: 'hi', id: '7' }), words('send 7 hi'));
    assert.deepEqual(named('send', { id: 7, binary: 'AP8=' }), words('send 7', bytes));
    assert.deepEqual(named('disconnect', { id: 7, code: 4000 }), words('disconnect 7 4000'));
    assert.deepEqual(named('set', { name: 'max-message', value: 1000 }), words('set max-message 1000'));
    assert.deepEqual(named('set', { name: 'no-self', value: true }), words('set no-self true'));
  });

  test('may use the names of earlier versions', () => {
    assert.deepEqual(named('send', { to: 7, text: 'hi' }), words('send 7 hi'));
    assert.deepEqual(named('trace', { which: 'all' }), words('trace all'));
  });

  const refused: [string, Record<string, unknown>, string | RegExp][] = [
    ['send', { ib: 7, text: 'hi' }, 'send has no parameter "ib"; usage: send ID|@NICK TEXT'],
    ['send', { id: 7, to: 8, text: 'hi' }, 'id is given twice, also as to; keep one'],
    ['send', { which: 7, text: 'hi' }, /^send has no parameter "which"/],
    ['disconnect', { id: 7, reson: 'x' }, 'disconnect has no parameter "reson"; did you mean reason?'],
    [
      'send',
      JSON.parse('{"id": 7, "text": "x", "__proto__": {"a": 1}}'),
      /^send has no parameter "__proto__"/,
    ],
    ['send', { id: 7, text: 'x', constructor: 1 }, /^send has no parameter "constructor"/],
    ['send', { id: 7, text: 12 }, 'text must be a text, not 12'],
    ['send', { id: 7, text: null }, 'text must be a text, not null'],
    ['send', { id: [7], text: 'x' }, /^id must be/],
    ['send', { id: { id: 7 }, text: 'x' }, /^id must be/],
    ['send', { id: 1e300, text: 'x' }, /^id must be/],
    ['send', { id: -1, text: 'x' }, /^id must be/],
    ['send', { id: 7.5, text: 'x' }, /^id must be/],
    ['send', { id: true, text: 'x' }, /^id must be/],
    ['send', { id: 7, text: 'x', binary: 'AP8=' }, 'give either text or bytes, not both'],
    ['send', { id: 7, binary: 'AP8' }, 'binary must be bytes in base64, not "AP8"'],
    ['send', { id: 7, binary: '????' }, /^binary must be bytes in base64/],
    ['send', { id: 7, binary: 12 }, /^binary must be bytes in base64/],
    ['publish', { room: ['pond'], text: 'x' }, /^channel must be the name of a channel/],
    ['publish', { channel: '\0', text: 'x' }, /^channel must be the name of a channel/],
    ['list', { binary: '' }, 'list takes no bytes; usage: list'],
  ];
  for (const [name, given, message] of refused) {
    test(`${name} ${JSON.stringify(given)} is refused`, () => {
      assert.throws(() => named(name, given), usageError(message));
    });
  }
});

describe('a line', () => {
  const line = (text: string) => {
    const { call, isJson } = parseCommandLine(text, noBytes);
    return [call.command.name, { ...call.parameters }, isJson];
  };

  test('is either words or a JSON object', () => {
    const call = ['send', { id: 7, text: 'hi there' }];
    assert.deepEqual(line('send 7 "hi there"'), [...call, false]);
    assert.deepEqual(line('send --json 7 hi there'), [...call, true]);
    assert.deepEqual(line('send 7 -- hi there'), [...call, false]);
    assert.deepEqual(line(' {"command": "send", "id": 7, "text": "hi there"}'), [...call, false]);
    assert.deepEqual(line('{"json": true, "text": "hi there", "id": "7", "command": "send"}'), [
      ...call,
      true,
    ]);
    assert.deepEqual(line('broadcast -- --json'), ['broadcast', { text: '--json' }, false]);
  });

  test('can name a file of bytes, which the caller reads', () => {
    const { call } = parseCommandLine('broadcast --binary some.file', name => {
      assert.equal(name, 'some.file');
      return bytes;
    });
    assert.deepEqual({ ...call.parameters }, { bytes });
  });

  const refused: [string, RegExp][] = [
    ['{"command": "list"', /^not a JSON object: .*\(line 1, column 19\)$/],
    ['{"command": "send", "id": 1, "id": 2, "text": "x"}', /"id" is given twice/],
    ['{"id": 7}', /has no "command"/],
    ['{"command": 7}', /has no "command"/],
    ['{"command": "list", "json": "yes"}', /"json" must be true or false/],
    [`{"command": ${'['.repeat(50)}${']'.repeat(50)}}`, /nested more than 20 levels deep/],
    [`{"command": ${'{"a":'.repeat(100_000)}`, /nested more than 20 levels deep/],
    ['broadcast --binray x', /unknown option --binray; did you mean --binary\?/],
    ['broadcast "half', /is not closed/],
  ];
  for (const [text, message] of refused) {
    test(`${text.slice(0, 50)} is refused`, () => {
      assert.throws(() => parseCommandLine(text, noBytes), usageError(message));
    });
  }
});

describe('the table of commands', () => {
  test('refuses an unknown name, and suggests the nearest', () => {
    const says = (name: string) => {
      try {
        findCommand(name);
        return undefined;
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.equal(says('lsit'), 'unknown command "lsit"; did you mean list?');
    assert.equal(says('brodcast'), 'unknown command "brodcast"; did you mean broadcast?');
    assert.equal(says('dance'), 'unknown command "dance"; pollywog help lists them all');
    for (const name of [
      '',
      '__proto__',
      'constructor',
      'toString',
      'list/',
      'LIST',
      '%6cist',
      'x'.repeat(1e6),
    ])
      assert.match(says(name) ?? '', /^unknown command/);
  });

  test('is complete in the help and the OpenAPI description, parameters included', () => {
    const lines = commandLines();
    const { paths } = openApi('1.2.3') as { paths: Record<string, { post: { operationId: string } }> };
    assert.deepEqual(
      Object.keys(paths),
      [...commands.keys()].map(name => `/api/${name}`),
    );
    for (const [index, command] of [...commands.values()].entries()) {
      assert.ok(lines[index]?.startsWith(`  ${usage(command)}  `));
      const help = commandHelp(command).replaceAll(/\s+/g, ' ');
      assert.ok(help.includes(command.help));
      if (command.details !== undefined) assert.ok(help.includes(command.details));
      for (const { kind } of Object.values(command.parameters)) assert.ok(help.includes(kind.expected));
      assert.equal(paths[`/api/${command.name}`]?.post.operationId, command.name);
    }
  });

  test('is listed by help, with the commands that need no server and the subjects', () => {
    const page = helpOverview().split('\n');
    for (const line of page) assert.ok(line.length <= 80, line);
    for (const line of commandLines()) assert.ok(page.includes(line), line);
    for (const name of ['help', 'defaultconfig', 'checkconfig', 'check', 'allowed']) {
      assert.ok(commandLines().some(line => line.startsWith(`  ${name} `)));
      assert.match(helpOn(name), new RegExp(`^Usage: pollywog ${name}`));
    }
    for (const subject of subjects().filter(subject => !isChapter(subject)))
      assert.ok(
        page.some(line => line.startsWith(`  ${subject} `)),
        subject,
      );
  });

  test('help COMMAND prints what a command takes, help SUBJECT a page of the manual', () => {
    assert.equal(helpOn('send'), commandHelp(findCommand('send')));
    assert.match(helpOn('limits'), /^LIMITS\n\n {2}\w.*--max-memory/s);
    assert.throws(
      () => helpOn('limts'),
      usageError('unknown command or subject "limts"; did you mean limits?'),
    );
    assert.throws(() => helpOn('snd'), usageError('unknown command or subject "snd"; did you mean send?'));
    assert.throws(
      () => helpOn('max-memory'),
      usageError('unknown command or subject "max-memory"; it is an option: see pollywog --help'),
    );
    assert.throws(
      () => helpOn('../README'),
      usageError('unknown command or subject "../README"; pollywog help lists them all'),
    );
  });

  test('hides no subject of the manual behind a command of the same name: help prints both', () => {
    for (const subject of subjects()) {
      const title = /^# (.*)$/m.exec(readPage(subject).markdown)![1]!;
      assert.ok(helpOn(subject).toLowerCase().includes(title.toLowerCase()), subject);
    }
    assert.match(helpOn('channels'), /^Usage: pollywog channels\n.*\ncurl -d paid/s);
  });

  test('lets only the last parameter take the rest, and no required one follow an optional one', () => {
    for (const { name, parameters } of commands.values()) {
      const all = Object.values(parameters).filter(({ isOption }) => !isOption);
      assert.ok(
        all.every(({ rest }, index) => !rest || index === all.length - 1),
        name,
      );
      assert.ok(
        all.every(({ optional }, index) => !optional || all.slice(index).every(later => later.optional)),
        name,
      );
    }
  });
});
