import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readPage, subjects } from '../../src/manual/pages.ts';
import { plainText, tableLines, terminalText } from '../../src/manual/terminal.ts';

describe('a page for a terminal', () => {
  test('has its title in capitals, text and lists within the width, and code as it is', () => {
    const markdown = `# The pond

It is deep, and so is *this* sentence.

## Fish

- a pike with teeth,
  which eats the others
- a carp

\`\`\`sh
swim --deep
\`\`\`
`;
    assert.equal(
      terminalText(markdown, 28),
      `THE POND

  It is deep, and so is
  this sentence.

Fish

  - a pike with teeth,
    which eats the others
  - a carp

    swim --deep`,
    );
  });

  test('code that is wide moves to the left, and is never broken', () => {
    const code = 'x'.repeat(30);
    assert.equal(terminalText(`\`\`\`\n${code}\n\`\`\``, 32), `  ${code}`);
    assert.equal(terminalText(`\`\`\`\n${code}\n\`\`\``, 20), code);
  });
});

describe('a line without its marks', () => {
  const lines: [markdown: string, plain: string][] = [
    ['set `--max-message 1MB` and **reload**', 'set --max-message 1MB and reload'],
    ['a command, `why`, and a sign, `;`', 'a command, "why", and a sign, ";"'],
    [
      'the log says `no init`; run `pollywog --tls-only` or `-p 80`',
      'the log says "no init"; run "pollywog --tls-only" or -p 80',
    ],
    ['`echo`', 'echo'],
    ['see [the limits](limits.md#memory)', 'see the limits (help limits)'],
    ['see [RFC 6455](https://rfc-editor.org/rfc6455)', 'see RFC 6455 <https://rfc-editor.org/rfc6455>'],
    ['it is in [`frame.ts`](../protocol/frame.ts)', 'it is in frame.ts'],
    ['2 * 3 * 4, `a*b`', '2 * 3 * 4, a*b'],
  ];
  for (const [markdown, plain] of lines) test(markdown, () => assert.equal(plainText(markdown), plain));
});

describe('a table', () => {
  const head = ['what', 'default', 'effect'];

  test('that is narrow has columns', () => {
    assert.deepEqual(tableLines(head, [['`a`', '1', 'closed']], 40), [
      'what  default  effect',
      '----  -------  ------',
      'a     1        closed',
    ]);
  });

  test('without a head has its rows alone, and wraps the last column', () => {
    const long = 'it is said in so many words that they need a second line';
    assert.deepEqual(tableLines(['', ''], [['a', long]], 43), [
      'a  it is said in so many words that they',
      '   need a second line',
    ]);
  });

  test('that is wide has an entry for each row, whose cells are named by the columns', () => {
    const row = ['a thing with a long name', 'a default of many words', 'the connection is closed'];
    assert.deepEqual(tableLines(head, [row, ['b', '', 'none']], 50), [
      'a thing with a long name',
      '    default: a default of many words',
      '    effect: the connection is closed',
      'b',
      '    effect: none',
    ]);
  });
});

describe('the pages', () => {
  for (const subject of subjects()) {
    test(`${subject}: fits a terminal of 80 columns, without a mark of Markdown`, () => {
      const { markdown, summary } = readPage(subject);
      assert.match(markdown, /^# \S.*\n\n\S.*\n\n/, 'a title, a summary of one line, and the text');
      assert.ok(summary.endsWith('.'), summary);
      const text = terminalText(markdown);
      const code = [...markdown.matchAll(/^```.*?^```$/gms)].join('\n');
      const patterns = [...markdown.matchAll(/`([^`\n]*\*\*[^`\n]*)`/g)].map(([, pattern]) => pattern!);
      for (const line of text.split('\n')) {
        if (code.includes(line.trim())) continue;
        assert.ok(line.length <= 80, line);
        const prose = patterns.reduce((rest, pattern) => rest.replaceAll(pattern, ''), line);
        assert.doesNotMatch(prose, /`|\*\*|\]\(|^ *[|#]/);
      }
    });
  }
});
