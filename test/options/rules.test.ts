/** The lines of `--allow`: valid and invalid ones. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { allowRule } from '../../src/options/rules.ts';

describe('a rule', () => {
  test('is a pattern, a colon, and at least one RIGHT=WHO', () => {
    const rule = allowRule.parse('  /channels/chat-*:  subscribe=anyone publish=subscribers presence=user ')!;
    assert.equal(rule.line, '/channels/chat-*:  subscribe=anyone publish=subscribers presence=user');
    assert.equal(rule.pattern.source, '/channels/chat-*');
    assert.deepEqual(rule.grants, { subscribe: 'anyone', publish: 'subscribers', presence: 'user' });
    assert.equal(allowRule.show(rule), rule.line);
  });

  test('may have spaces, commas and colons in its path', () => {
    assert.equal(allowRule.parse('/a: b, c=d: connect=nobody')?.pattern.source, '/a: b, c=d');
  });

  test('without a path or a colon is invalid', () => {
    for (const raw of ['', 'quiz: connect=user', '/quiz connect=user', 7, ['/quiz: connect=user']])
      assert.equal(allowRule.parse(raw), undefined);
  });

  const unfit: [string, RegExp][] = [
    ['/quiz:', /after the colon it needs connect=, subscribe=, publish=, presence=/],
    ['/quiz: connect', /connect= needs one of anyone, user, token, subscribers, commands, nobody/],
    ['/quiz: connect=', /connect= needs one of/],
    ['/quiz: connect=admin', /connect= needs one of/],
    ['/quiz: connect=User', /connect= needs one of/],
    ['/quiz: connect=user=x', /connect= needs one of/],
    ['/quiz: read=user', /the rights are connect, subscribe, publish, presence/],
    ['/quiz: constructor=user', /the rights are connect/],
    ['/quiz: connect=user connect=nobody', /it names connect twice; keep one/],
    ['/quiz: connect=subscribers', /connect=subscribers would refuse everyone/],
    ['/c: subscribe=commands', /only publish can be for commands; use subscribe=nobody/],
    ['/a%20b: connect=user', /write characters as they are, not percent-encoded/],
    [
      '/docs/: connect=user',
      /it covers nothing: no path .* ends in a slash.*; write a folder as \/docs, and everything below it as \/docs\/\*\*/,
    ],
    ['/a//b: connect=user', /it covers nothing/],
    ['/a/./b: connect=user', /it covers nothing/],
    ['/a/..: connect=user', /it covers nothing/],
    ['/a***: connect=user', /not \*\*\*/],
    ['/{name}: connect=user', /the only name in braces is \{user\}/],
  ];
  for (const [line, reason] of unfit)
    test(`${JSON.stringify(line)} is refused with a reason that quotes it`, () => {
      assert.throws(
        () => allowRule.parse(line),
        (error: Error) =>
          error.name === 'UsageError' &&
          error.message.startsWith(JSON.stringify(line)) &&
          reason.test(error.message),
      );
    });
});
