import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { commandLines } from '../../src/commands/help.ts';
import { manual } from '../../src/install/manual.ts';
import { helpText } from '../../src/options/help.ts';
import { flagName, optionEntries } from '../../src/options/table.ts';

const text = `NAME
pond - where pollywogs live

@synopsis

DESCRIPTION
.dots and 'quotes' in front, a \\ and a --hyphen.
'tis a second line

    an example:
      $ pond --deep

  term, other  what it is
  second       "quoted"

@options
`;

const help = `Usage: pond [X]   one way
       pond Y     another

Deep:
  -d, --deep N...  how deep [3]

Commands:
  dive [N]  go down

A note.

Examples:
  pond -d 2
  HOW=so pond`;

test('a page has its sections in order, and nothing that roff would take for its own', () => {
  const page = manual('pond', '7', '1.2.3', text, help);
  assert.equal(
    page,
    `.TH POND 7 "" "Pollywog 1.2.3"
.SH NAME
pond \\- where pollywogs live
.SH SYNOPSIS
.TP
.B pond [X]
one way
.TP
.B pond Y
another
.SH DESCRIPTION
.PP
\\&.dots and 'quotes' in front, a \\e and a \\-\\-hyphen.
\\&'tis a second line
.PP
.in +4n
.EX
an example:
  $ pond \\-\\-deep
.EE
.in
.TP
.B term, other
what it is
.TP
.B second
\\(dqquoted\\(dq
.SH OPTIONS
.SS Deep
.TP
.B \\-d, \\-\\-deep N...
how deep [3]
.SS Notes
.PP
A note.
.SH COMMANDS
.TP
.B dive [N]
go down
.SH EXAMPLES
.PP
.in +4n
.EX
pond \\-d 2
HOW=so pond
.EE
.in
`,
  );
});

test('every option stands in the page, which man reads without a warning', () => {
  const page = manual('pollywog', '1', '0', '@synopsis\n\n@options', helpText(commandLines()));
  const { stdout, stderr, status } = spawnSync('man', ['--warnings', '-l', '-'], {
    input: page,
    encoding: 'utf8',
    env: { ...process.env, MANWIDTH: '120', LC_ALL: 'C' },
  });
  assert.deepEqual([status, stderr], [0, '']);
  for (const [name, { help }] of optionEntries) {
    assert.ok(stdout.includes(flagName(name)), name);
    assert.ok(stdout.includes(help), help);
  }
});
