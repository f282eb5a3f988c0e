import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { commandSection } from '../../src/commands/help.ts';
import { programPage } from '../../src/install/manPages.ts';
import { fullHelpText } from '../../src/options/help.ts';
import { flagName, optionEntries } from '../../src/options/table.ts';

const frame = `# pond

where pollywogs live

@synopsis

## Description

The pond is deep.

@options

## Files

| | |
|---|---|
| /etc/pond | how deep |
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

test('the page of a program has its sections in order, with the options from --help', () => {
  assert.equal(
    programPage('pond', '1', '1.2.3', frame, help),
    `.TH POND 1 "" "Pollywog 1.2.3"
.nh
.ad l
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
The pond is deep.
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
.in +2n
.EX
pond \\-d 2
HOW=so pond
.EE
.in
.SH FILES
.PP
.in +2n
.EX
/etc/pond  how deep
.EE
.in
`,
  );
});

test('man shows every option without a warning', () => {
  const page = programPage(
    'pollywog',
    '1',
    '0',
    '# p\n\np\n\n@synopsis\n\n@options',
    fullHelpText(commandSection()),
  );
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
