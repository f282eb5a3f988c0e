import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commandLines, commandNames } from '../../src/commands/help.ts';
import { readConfiguration } from '../../src/options/configuration.ts';
import { fullHelpText, groupHelp, helpText } from '../../src/options/help.ts';
import { flagName, optionEntries } from '../../src/options/table.ts';

const lines = helpText(commandNames()).split('\n');

test('--help fits a terminal of 80 columns', () => {
  assert.ok(lines.length <= 125, `${lines.length} lines`);
  for (const line of lines) assert.ok(line.length <= 80 && line === line.trimEnd(), line);
});

test('--help names every command, and fits them into a few lines', () => {
  const start = lines.findIndex(line => line.startsWith('Commands: '));
  const listed = lines.slice(start, lines.indexOf('', start));
  assert.ok(listed.length <= 4, listed.join('\n'));
  const names = listed.join(' ').replace('Commands: ', '').split('.')[0]!.split(/, */);
  assert.deepEqual(
    names.map(name => name.trim()),
    commandLines().map(line => line.trim().split(' ')[0]),
  );
});

test('the full help lists every option with its letter and default; --help leaves out those for tests', () => {
  const full = fullHelpText(commandNames()).split('\n');
  const lineOf = (name: string, within: string[]) =>
    within.find(candidate => candidate.slice(6).split(' ')[0] === flagName(name));
  for (const [name, { group, short, kind, repeatable, default: fallback }] of optionEntries) {
    const line = lineOf(name, full);
    assert.equal(lineOf(name, lines) === undefined, group === 'Testing', name);
    assert.ok(line, name);
    assert.equal(line.slice(2, 5), short ? `-${short},` : '   ', name);
    if (kind.placeholder === '') continue;
    assert.ok(line.includes(` ${kind.placeholder}${repeatable ? '... ' : ' '}`), name);
    for (const value of repeatable ? (fallback as unknown[]) : [fallback]) {
      assert.ok(line.endsWith(` [${kind.show(value)}]`), name);
    }
  }
});

test('--help names the options for tests in at most three lines, and the command that describes them', () => {
  const start = lines.findIndex(line => line.startsWith('Testing: '));
  const [first = '', ...others] = lines.slice(start);
  const rest = others.slice(
    0,
    others.findIndex(line => !line.startsWith('  ')),
  );
  assert.ok(rest.length <= 2, rest.join('\n'));
  const text = [first, ...rest].map(line => line.trim()).join(' ');
  const names = optionEntries.filter(([, { group }]) => group === 'Testing').map(([name]) => flagName(name));
  assert.equal(text, `Testing: ${names.join(', ')}. See "pollywog help testing".`);
  assert.deepEqual(
    groupHelp('Testing')
      .split('\n')
      .map(line => line.trim().split(' ')[0]),
    names,
  );
});

test('every example of --help is a valid command line', () => {
  const examples = lines.slice(lines.indexOf('Examples:') + 1);
  assert.notEqual(examples.length, 0);
  for (const example of examples) {
    const [variables = '', words = ''] = example.trim().split(/ ?pollywog ?(?!\.)/, 2);
    const env = Object.fromEntries(variables.split(' ').map(pair => pair.split('=', 2)));
    assert.equal(
      readConfiguration(words.split(' ').filter(Boolean), env, ['echo', 'tpacket']).action,
      'serve',
      example,
    );
  }
});
