/** Patterns of paths and channels, compared with regular expressions of the same meaning. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { literalPattern, matchesPattern, type Pattern, parsePattern } from '../../src/protocol/pattern.ts';

function pattern(source: string): Pattern {
  const parsed = parsePattern(source);
  assert.ok(typeof parsed !== 'string', `${source}: ${parsed}`);
  return parsed;
}

function matches(source: string, text: string, user?: string): boolean {
  return matchesPattern(pattern(source), text, user);
}

/** The regular expression with the meaning of the pattern. */
function expressionOf(source: string, user: string | undefined): RegExp {
  const escaped = (text: string) =>
    text.replace(/[^a-z0-9]/gi, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const isFolder = source.endsWith('/**');
  const parts = (isFolder ? source.slice(0, -3) : source).split(/(\*\*|\*|\{user\})/);
  const named = user === undefined ? '[^/]*' : user === '' || user.includes('/') ? '(?!)' : escaped(user);
  const expressions = parts.map(part =>
    part === '**' ? '.*' : part === '*' ? '[^/]*' : part === '{user}' ? named : escaped(part),
  );
  return new RegExp(`^${expressions.join('')}${isFolder ? '(?:/.*)?' : ''}$`, 's');
}

const piece = fc.constantFrom('a', 'b', '/', '*', '**', '{user}', '/**', '.', '-');
const sources = fc.array(piece, { minLength: 1, maxLength: 8 }).map(pieces => pieces.join(''));
const texts = fc
  .array(fc.constantFrom('a', 'b', '/', '.', '-', '*'), { maxLength: 10 })
  .map(parts => parts.join(''));

describe('a pattern', () => {
  test('matches exactly what a regular expression of the same meaning matches', () => {
    fc.assert(
      fc.property(sources, texts, fc.option(texts, { nil: undefined }), (source, text, user) => {
        const parsed = parsePattern(source);
        fc.pre(typeof parsed !== 'string');
        assert.equal(matchesPattern(parsed, text, user), expressionOf(source, user).test(text));
      }),
      { numRuns: 3000 },
    );
  });

  test('without a star and {user} matches only its own text', () => {
    const plain = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' });
    fc.assert(
      fc.property(plain, plain, (text, other) => {
        assert.ok(matchesPattern(literalPattern(text), text));
        assert.equal(matchesPattern(literalPattern(text), other), text === other);
        const parsed = parsePattern(text);
        if (typeof parsed !== 'string' && !/[*{]/.test(text))
          assert.equal(matchesPattern(parsed, other), text === other);
      }),
    );
  });

  test('never matches the channel of another user', () => {
    const names = fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' });
    fc.assert(
      fc.property(names, names, (owner, user) => {
        const isOwner = matches('/channels/user-{user}', `/channels/user-${owner}`, user);
        assert.equal(isOwner, owner === user && !owner.includes('/'));
      }),
    );
  });

  test('has a star within a segment, and two stars across segments', () => {
    assert.ok(matches('/channels/chat-*', '/channels/chat-'));
    assert.ok(matches('/channels/chat-*', '/channels/chat-1'));
    assert.ok(!matches('/channels/chat-*', '/channels/chat-1/2'));
    assert.ok(matches('/channels/**', '/channels/a/b'));
    assert.ok(matches('/**/secret', '/a/b/secret'));
    assert.ok(matches('/*/*', '/a/b'));
  });

  test('that ends in /** also covers the path before it, but no path that only shares its beginning', () => {
    assert.ok(matches('/admin/**', '/admin'));
    assert.ok(matches('/admin/**', '/admin/x/y'));
    assert.ok(!matches('/admin/**', '/administrator'));
    assert.ok(matches('/**', '/'));
  });

  test('distinguishes upper and lower case, and composed and decomposed letters', () => {
    assert.ok(!matches('/echo', '/Echo'));
    assert.ok(!matches('/caf\u00e9', '/cafe\u0301'));
  });

  test('is refused with a reason if it could be read in two ways', () => {
    const unfit: [string, RegExp][] = [
      ['', /1 to 1000 characters/],
      ['x'.repeat(1001), /1 to 1000 characters/],
      ['a***', /not \*\*\*/],
      ['{name}', /the only name in braces is \{user\}/],
      ['{user', /the only name in braces is \{user\}/],
      ['{{user}}', /the only name in braces is \{user\}/],
      ['{User}', /the only name in braces is \{user\}/],
      ['{user}*', /\{user\} must not be next to \*/],
      ['**{user}', /\{user\} must not be next to \*/],
      ['{user}{user}', /\{user\} must not be next to \*/],
      ['a\nb', /control characters/],
      ['a\ud800', /control characters|surrogate|Unicode/],
    ];
    for (const [source, reason] of unfit) {
      const parsed = parsePattern(source);
      assert.ok(typeof parsed === 'string', source);
      assert.match(parsed, reason);
    }
  });

  test('with many stars does not try all combinations', () => {
    const source = '**a'.repeat(300);
    assert.ok(!matches(source, `${'a'.repeat(5000)}b`));
    assert.ok(matches(source, 'a'.repeat(5000)));
  });
});
