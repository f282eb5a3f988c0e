import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manPage } from '../../src/manual/roff.ts';

const markdown = `# The pond

Where \`pollywogs\` live.

.dots and 'quotes' in front, a \\ and a --hyphen.

'tis a *second* paragraph with \`--deep\`, see [the chat](chat.md) and [the web](https://example.com).

## How deep

- first,
  in two lines
- **second**

\`\`\`sh
.leap "far" -x
\`\`\`

| depth | fish |
|---|--:|
| 1 | 3 → 4 |
`;

test('every kind of block is set, and roff finds no request of its own in the text', () => {
  assert.equal(
    manPage({ name: 'pollywog-pond', section: '7', version: '1.2.3', markdown }),
    `.TH POLLYWOG\\-POND 7 "" "Pollywog 1.2.3"
.nh
.ad l
.SH NAME
pollywog\\-pond \\- Where \\(dqpollywogs\\(dq live
.SH DESCRIPTION
.PP
\\&.dots and 'quotes' in front, a \\e and a \\-\\-hyphen.
.PP
\\&'tis a \\fIsecond\\fR paragraph with \\fB\\-\\-deep\\fR, see the chat and the web <https://example.com>.
.SH HOW DEEP
.IP \\(bu 2
first, in two lines
.IP \\(bu 2
\\fBsecond\\fR
.PP
.in +2n
.EX
\\&.leap \\(dqfar\\(dq \\-x
.EE
.in
.PP
.in +2n
.EX
depth  fish
\\-\\-\\-\\-\\-  \\-\\-\\-\\-\\-
1      3 \\(-> 4
.EE
.in
.SH SEE ALSO
\\%pollywog\\-chat(7), \\%pollywog(1)
`,
  );
});
