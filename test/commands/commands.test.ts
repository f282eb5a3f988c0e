import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openApi } from '../../src/commands/api.ts';
import { commands, findCommand, readLine, readNamed, readWords, usage } from '../../src/commands/commands.ts';
import { commandHelp, commandLines, helpOn, helpOverview } from '../../src/commands/help.ts';
import { subjects } from '../../src/manual/pages.ts';

const bytes = Buffer.from([0, 255]);
const noBytes = () => assert.fail('no file was named');

function words(line: string, given?: Buffer): Record<string, unknown> {
  const [name = '', ...rest] = line.split(' ');
  return { ...readWords(findCommand(name), rest, given).values };
}

function named(name: string, given: Record<string, unknown>): Record<string, unknown> {
  return { ...readNamed(findCommand(name), given).values };
}

const usageError = (message: string | RegExp) => ({ name: 'UsageError', message });

describe('a call in words', () => {
  test('has them in the order of the parameters; the last takes the rest', () => {
    assert.deepEqual(words('send 7 hello there'), { to: 7, text: 'hello there' });
    assert.deepEqual(words('disconnect 7'), { id: 7, code: undefined, reason: undefined });
    assert.deepEqual(words('disconnect 7 4000 go home'), { id: 7, code: 4000, reason: 'go home' });
    assert.deepEqual(words('send 7 '), { to: 7, text: '' });
    assert.deepEqual(words('get '), { name: undefined });
  });

  test('has bytes in place of the text', () => {
    assert.deepEqual(words('send 7', bytes), { to: 7, bytes });
    assert.deepEqual(words('broadcast', bytes), { bytes });
    assert.throws(
      () => words('broadcast hello', bytes),
      usageError('"hello" is too much; it is: broadcast TEXT'),
    );
    assert.throws(() => words('list', bytes), usageError('list takes no bytes; it is: list'));
  });

  const refused: [string, string | RegExp][] = [
    [
      'send',
      /^send wants the id of a connection such as 7, or the nick .* \(to\); it is: send ID\|@NICK TEXT$/,
    ],
    ['send 7', 'send wants a text (text); it is: send ID|@NICK TEXT'],
    ['send seven hi', /^to must be the id .* not "seven"$/],
    ['send -7 hi', /^to must be/],
    ['send 7.0 hi', /^to must be/],
    ['send 1e1 hi', /^to must be/],
    ['send 9999999999 hi', /^to must be/],
    ['send @ hi', /^to must be/],
    [`send @${'x'.repeat(200)} hi`, /^to must be .*\.\.\.$/],
    ['list all', '"all" is too much; it is: list'],
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
    test(`${line.slice(0, 40)}: is refused`, () => assert.throws(() => words(line), usageError(message)));
  }
});

describe('a call by names', () => {
  test('is what it is in words', () => {
    assert.deepEqual(named('send', { to: 7, text: 'hi' }), words('send 7 hi'));
    assert.deepEqual(named('send', { text: 'hi', to: '7' }), words('send 7 hi'));
    assert.deepEqual(named('send', { to: 7, binary: 'AP8=' }), words('send 7', bytes));
    assert.deepEqual(named('disconnect', { id: 7, code: 4000 }), words('disconnect 7 4000'));
    assert.deepEqual(named('set', { name: 'max-message', value: 1000 }), words('set max-message 1000'));
    assert.deepEqual(named('set', { name: 'no-self', value: true }), words('set no-self true'));
  });

  const refused: [string, Record<string, unknown>, string | RegExp][] = [
    ['send', { too: 7, text: 'hi' }, 'send takes no "too"; did you mean to?'],
    ['disconnect', { id: 7, reson: 'x' }, 'disconnect takes no "reson"; did you mean reason?'],
    ['send', JSON.parse('{"to": 7, "text": "x", "__proto__": {"a": 1}}'), /^send takes no "__proto__"/],
    ['send', { to: 7, text: 'x', constructor: 1 }, /^send takes no "constructor"/],
    ['send', { to: 7, text: 12 }, 'text must be a text, not 12'],
    ['send', { to: 7, text: null }, 'text must be a text, not null'],
    ['send', { to: [7], text: 'x' }, /^to must be/],
    ['send', { to: { id: 7 }, text: 'x' }, /^to must be/],
    ['send', { to: 1e300, text: 'x' }, /^to must be/],
    ['send', { to: -1, text: 'x' }, /^to must be/],
    ['send', { to: 7.5, text: 'x' }, /^to must be/],
    ['send', { to: true, text: 'x' }, /^to must be/],
    ['send', { to: 7, text: 'x', binary: 'AP8=' }, 'text or bytes: give one of the two'],
    ['send', { to: 7, binary: 'AP8' }, 'binary must be bytes in base64, not "AP8"'],
    ['send', { to: 7, binary: '????' }, /^binary must be bytes in base64/],
    ['send', { to: 7, binary: 12 }, /^binary must be bytes in base64/],
    ['publish', { room: 'pond', binary: 'AP8=' }, /^publish wants a text/],
    ['publish', { room: ['pond'], text: 'x' }, /^room must be the name of a room/],
    ['publish', { room: '\0', text: 'x' }, /^room must be the name of a room/],
    ['list', { binary: '' }, 'list takes no bytes; it is: list'],
  ];
  for (const [name, given, message] of refused) {
    test(`${name} ${JSON.stringify(given)}: is refused`, () => {
      assert.throws(() => named(name, given), usageError(message));
    });
  }
});

describe('a line', () => {
  const line = (text: string) => {
    const { call, isJson } = readLine(text, noBytes);
    return [call.command.name, { ...call.values }, isJson];
  };

  test('is words, or a JSON object', () => {
    const call = ['send', { to: 7, text: 'hi there' }];
    assert.deepEqual(line('send 7 "hi there"'), [...call, false]);
    assert.deepEqual(line('send --json 7 hi there'), [...call, true]);
    assert.deepEqual(line('send 7 -- hi there'), [...call, false]);
    assert.deepEqual(line(' {"command": "send", "to": 7, "text": "hi there"}'), [...call, false]);
    assert.deepEqual(line('{"json": true, "text": "hi there", "to": "7", "command": "send"}'), [
      ...call,
      true,
    ]);
    assert.deepEqual(line('broadcast -- --json'), ['broadcast', { text: '--json' }, false]);
  });

  test('names a file of bytes, which whoever takes the line reads', () => {
    const { call } = readLine('broadcast --binary some.file', name => {
      assert.equal(name, 'some.file');
      return bytes;
    });
    assert.deepEqual({ ...call.values }, { bytes });
  });

  const refused: [string, RegExp][] = [
    ['{"command": "list"', /^this is no JSON object: .*\(line 1, column 19\)$/],
    ['{"command": "send", "to": 1, "to": 2, "text": "x"}', /"to" is given twice/],
    ['{"to": 7}', /names no "command"/],
    ['{"command": 7}', /names no "command"/],
    ['{"command": "list", "json": "yes"}', /"json" is true or false/],
    [`{"command": ${'['.repeat(50)}${']'.repeat(50)}}`, /nested too deeply/],
    [`{"command": ${'{"a":'.repeat(100_000)}`, /nested too deeply/],
    ['broadcast --binray x', /unknown option --binray; did you mean --binary\?/],
    ['broadcast "half', /is not closed/],
  ];
  for (const [text, message] of refused) {
    test(`${text.slice(0, 50)}: is refused`, () => {
      assert.throws(() => readLine(text, noBytes), usageError(message));
    });
  }
});

describe('the names of commands', () => {
  test('one that is not there is answered with the nearest', () => {
    const says = (name: string) => {
      try {
        findCommand(name);
        return undefined;
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.equal(says('lsit'), 'there is no command "lsit"; did you mean list?');
    assert.equal(says('brodcast'), 'there is no command "brodcast"; did you mean broadcast?');
    assert.equal(says('dance'), 'there is no command "dance"; help lists what there is');
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
      assert.match(says(name) ?? '', /^there is no command/);
  });

  test('all of them are in the help and in the description, with what they take', () => {
    const lines = commandLines();
    const { paths } = openApi('1.2.3') as { paths: Record<string, { post: { operationId: string } }> };
    assert.deepEqual(
      Object.keys(paths),
      [...commands.keys()].map(name => `/api/${name}`),
    );
    for (const [index, command] of [...commands.values()].entries()) {
      assert.ok(lines[index]?.startsWith(`  ${usage(command)}  `));
      assert.ok(commandHelp(command).includes(command.help));
      for (const { kind } of Object.values(command.parameters))
        assert.ok(commandHelp(command).includes(kind.expected));
      assert.equal(paths[`/api/${command.name}`]?.post.operationId, command.name);
    }
  });

  test('help lists every command and every subject, those that need no server included', () => {
    const page = helpOverview().split('\n');
    for (const line of page) assert.ok(line.length <= 80, line);
    for (const line of commandLines()) assert.ok(page.includes(line), line);
    for (const name of ['help', 'defaultconfig', 'checkconfig']) {
      assert.ok(commandLines().some(line => line.startsWith(`  ${name} `)));
      assert.match(helpOn(name), new RegExp(`^Usage: pollywog ${name}`));
    }
    for (const subject of subjects())
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
      usageError('there is no command or subject "limts"; did you mean limits?'),
    );
    assert.throws(
      () => helpOn('snd'),
      usageError('there is no command or subject "snd"; did you mean send?'),
    );
    assert.throws(
      () => helpOn('max-memory'),
      usageError('there is no command or subject "max-memory"; it is an option: see pollywog --help'),
    );
    assert.throws(
      () => helpOn('../README'),
      usageError('there is no command or subject "../README"; pollywog help lists them'),
    );
  });

  test('no subject of the manual is hidden by a command of the same name', () => {
    for (const subject of subjects()) assert.ok(!commands.has(subject), subject);
  });

  test('only the last parameter takes the rest, and none that must be given follows one that need not', () => {
    for (const { name, parameters } of commands.values()) {
      const all = Object.values(parameters);
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
