import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readConfiguration } from '../../src/options/configuration.ts';
import { program, variableName } from '../../src/options/values.ts';
import { splitCommand } from '../../src/options/words.ts';

describe('a command is split as a shell splits it', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['cat', ['cat']],
    ['  grep   -v\tx\n', ['grep', '-v', 'x']],
    [`sh -c 'while read -r l; do echo "$l"; done'`, ['sh', '-c', 'while read -r l; do echo "$l"; done']],
    [`a "b 'c' d" 'e "f" g'`, ['a', "b 'c' d", 'e "f" g']],
    [`a"b"'c'\\ d`, ['abc d']],
    [`"" ''`, ['', '']],
    [`"\\$HOME \\"q\\" \\\\ \\n"`, ['$HOME "q" \\ \\n']],
    ['\\$x \\| \\*', ['$x', '|', '*']],
    [`'$x|*' "*|;"`, ['$x|*', '*|;']],
    ['a=b --c=d,e', ['a=b', '--c=d,e']],
    ['grüße ☃', ['grüße', '☃']],
  ];
  for (const [command, words] of cases) test(command, () => assert.deepEqual(splitCommand(command), words));
});

test('unquoted shell characters are refused', () => {
  const commands = [
    'a | b',
    'a; b',
    'a & b',
    'a > b',
    'a < b',
    'echo $x',
    'echo `x`',
    '(a)',
    'ls *.c',
    'a ?',
  ];
  for (const command of [...commands, 'echo "$x"', 'echo "`x`"', 'ls ~', 'a # b', '{a,b}', 'a [b]', 'a !b'])
    assert.equal(splitCommand(command), undefined, command);
});

test('an unclosed quote is refused', () => {
  for (const command of ["a 'b", 'a "b', 'a \\', `a "b\\"`]) assert.equal(splitCommand(command), undefined);
});

test('any words survive quoting and splitting', () => {
  const quote = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' })), words => {
      assert.deepEqual(splitCommand(words.map(quote).join(' ')), words);
    }),
    { seed: 6455 },
  );
});

test('a program is read as a name, a format and a command', () => {
  const words = ['cat', '-u'];
  assert.deepEqual(program.parse('a=cat -u'), { name: 'a', format: 'line', words, command: 'cat -u' });
  assert.deepEqual(program.parse('a:null= cat -u '), { name: 'a', format: 'null', words, command: 'cat -u' });
  assert.equal(program.parse('a.b_c~d-1:length=cat')?.name, 'a.b_c~d-1');
  assert.deepEqual(program.parse('a=env x=y')?.words, ['env', 'x=y']);
  for (const raw of ['', 'a', 'a=', 'a= ', "a=''", '=cat', 'a b=cat', 'a/b=cat', '..=cat', 'a:=cat'])
    assert.equal(program.parse(raw), undefined, raw);
  for (const raw of ['a=cat\0', 1, null, {}, true]) assert.equal(program.parse(raw), undefined);
  for (const raw of ['a=cat -u', 'a:json=sh -c "a \\$b"'])
    assert.deepEqual(program.parse(program.show(program.parse(raw)!)), program.parse(raw));
});

test('an environment variable’s name is validated', () => {
  for (const name of ['LANG', '_', 'a1']) assert.equal(variableName.parse(name), name);
  for (const raw of ['', '1a', 'A=1', 'A B', 'A-B', 1, null])
    assert.equal(variableName.parse(raw), undefined);
});

test('--default-handler may name a program, and two handlers may not share a name', () => {
  const read = (...argv: string[]) => readConfiguration(argv, {}, ['echo', 'chat']);
  assert.equal(read('--exec', 'x=cat', '--default-handler', 'x').defaultHandler, 'x');
  assert.equal(read('--exec-shared', 'x=cat', '--default-handler', 'x').defaultHandler, 'x');
  assert.throws(() => read('--default-handler', 'x'), {
    name: 'UsageError',
    message: /^--default-handler must be echo, chat or none,/,
  });
  assert.throws(() => read('--exec', 'x=cat', '--default-handler', 'y'), {
    message: /must be echo, chat, x or none,/,
  });
  const taken = { name: 'UsageError', message: /^a handler named "\w+" exists already; / };
  assert.throws(() => read('--exec', 'echo=cat'), taken);
  assert.throws(() => read('--exec', 'x=cat', '--exec', 'x=cat'), taken);
  assert.throws(() => read('--exec', 'x=cat', '--exec-shared', 'x=cat'), taken);
});

test('commands in the environment are separated by line ends, so they may contain commas', () => {
  const env = { POLLYWOG_EXEC: 'a=tee a,b\nb=cat', POLLYWOG_EXEC_ENV: 'LANG, HOME' };
  const { exec, execEnv } = readConfiguration([], env, ['echo']);
  assert.deepEqual(
    exec.map(({ name, words }) => [name, ...words]),
    [
      ['a', 'tee', 'a,b'],
      ['b', 'cat'],
    ],
  );
  assert.deepEqual(execEnv, ['LANG', 'HOME']);
});

test('a program with a wrong format, or a command for a shell, is refused with the reason', () => {
  for (const [raw, reason] of [
    ['a:xml=cat', 'the format must be line, null, length, json, not "xml"'],
    [
      'a=cat | tr a b',
      '"cat | tr a b" has an unquoted shell character or an open quote; add quotes, or run a shell with sh -c',
    ],
    [
      "a=cat 'b",
      '"cat \'b" has an unquoted shell character or an open quote; add quotes, or run a shell with sh -c',
    ],
  ] as const) {
    assert.throws(() => program.parse(raw), { name: 'UsageError', message: reason });
    const fault = { message: `--exec: ${reason}` };
    assert.throws(() => readConfiguration(['--exec', raw], {}, []), fault);
  }
  const sentence =
    '--exec must be NAME=COMMAND such as shout=./shout.sh, or NAME:FORMAT=COMMAND such as order:json=./orders.py';
  assert.throws(() => readConfiguration(['--exec', './shout.sh'], {}, []), {
    message: `${sentence}, not "./shout.sh"`,
  });
});
