/** What becomes a link on the page, where the link ends, and what never becomes one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { splitLinks } from '../../src/web/page/links.ts';

const linksIn = (text: string) =>
  splitLinks(text)
    .filter(({ href }) => href !== undefined)
    .map(piece => piece.text);

const cases: readonly [text: string, ...links: string[]][] = [
  ['see https://example.org/a?b=c#d for more', 'https://example.org/a?b=c#d'],
  ['http://example.com', 'http://example.com'],
  ['HTTPS://EXAMPLE.COM/Path', 'HTTPS://EXAMPLE.COM/Path'],
  ['two: http://a.example, http://b.example.', 'http://a.example', 'http://b.example'],
  ['is it https://example.org/x?!', 'https://example.org/x'],
  ['(see https://example.org/x)', 'https://example.org/x'],
  ['https://en.wikipedia.org/wiki/Frog_(animal)', 'https://en.wikipedia.org/wiki/Frog_(animal)'],
  ['[https://example.org/[x]]', 'https://example.org/[x]'],
  ['<https://example.org/x>', 'https://example.org/x'],
  ['"https://example.org/x"', 'https://example.org/x'],
  ['http://example.org/שלום', 'http://example.org/שלום'],
  ['http://127.0.0.1:8080/?room=pond', 'http://127.0.0.1:8080/?room=pond'],
  ['http://[::1]:8080/', 'http://[::1]:8080/'],
  ['javascript:alert(1)'],
  ['data:text/html,<b>x</b> file:///etc/passwd ftp://example.org mailto:a@b.example'],
  ['javascript://example.org/%0aalert(1)'],
  ['xhttps://example.org', ...[]],
  ['https://', ...[]],
  ['https://.', ...[]],
  ['https://bank.example@evil.example/', ...[]],
  ['https://user:password@example.org/', ...[]],
  ['https://example.org/\u202egpj.exe', 'https://example.org/'],
  ['www.example.org example.org'],
  [''],
];
for (const [text, ...links] of cases) {
  test(`links in ${JSON.stringify(text)}: ${links.join(' and ') || 'none'}`, () => {
    assert.deepEqual(linksIn(text), links);
  });
}

test('the pieces of any text add up to it, and each link is http or https without a user name', () => {
  const part = fc.constantFrom(
    'http://',
    'https://',
    'HTTPS://',
    '@',
    '(',
    ')',
    '.',
    ' ',
    'a',
    ':',
    '/',
    '\n',
    '\u202e',
  );
  const text = fc
    .array(fc.oneof(part, fc.string({ unit: 'binary' })), { maxLength: 30 })
    .map(parts => parts.join(''));
  fc.assert(
    fc.property(text, words => {
      const pieces = splitLinks(words);
      assert.equal(pieces.map(piece => piece.text).join(''), words);
      for (const { href } of pieces) {
        if (href === undefined) continue;
        assert.match(href, /^https?:\/\//);
        assert.equal(new URL(href).username, '');
      }
    }),
    { seed: 6455, numRuns: 2000 },
  );
});

test('a long message of brackets and punctuation is split in linear time', {
  timeout: 20_000,
}, () => {
  const link = 'https://example.org/';
  for (const tail of [')', '.', ')]}', ').', '(']) {
    const message = link + tail.repeat(1_000_000);
    assert.deepEqual(linksIn(message), [tail === '(' ? message : link], tail);
  }
});
