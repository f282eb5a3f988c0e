/** Writes the page of the manual that lists every rule with its code and its test, and the same as a table for the inspector. */
import type { Ledger, LedgerRule } from '../../src/handlers/inspector/ledger.ts';
import type { NamedTest, Place } from './markers.ts';
import type { Statement } from './statements.ts';

export const pagePath = 'src/manual/rfc6455.md';
export const tablePath = 'src/explain/ledger.json';

/** What the page shows of a rule. */
export interface Claim {
  readonly statement: Statement;
  readonly places: readonly Place[];
  readonly tests: readonly NamedTest[];
}

export function claimsOf(
  statements: readonly Statement[],
  places: readonly Place[],
  tests: readonly NamedTest[],
): Claim[] {
  return statements.map(statement => ({
    statement,
    places: places.filter(({ ids }) => ids.includes(statement.id)),
    tests: tests.filter(({ ids }) => ids.includes(statement.id)),
  }));
}

export function manualPageOf(claims: readonly Claim[]): string {
  const enforced = claims.filter(({ places }) => places.length > 0);
  const titleOf = ({ statement: { section, title } }: Claim) => `${section} ${title}`;
  const blocks = unique(claims.map(titleOf)).map(title => {
    const items = claims.filter(claim => titleOf(claim) === title).map(claim => `- ${itemOf(claim)}`);
    return `## ${title}\n\n${items.join('\n')}`;
  });
  return `${introduction(claims.length, enforced.length)}\n${blocks.join('\n\n')}\n`;
}

/** The table of tablePath: a rule a line. */
export function tableOf(claims: readonly Claim[]): string {
  const lines = claims.map(({ statement, places }) => {
    const { id, section, party, text, notApplicable } = statement;
    const rule: LedgerRule = {
      ...{ section, who: party, statement: text },
      places: places.map(({ file, name }) => [file, name]),
      ...(notApplicable === undefined ? {} : { reason: notApplicable }),
    };
    return `  ${JSON.stringify(id satisfies keyof Ledger)}: ${JSON.stringify(rule)}`;
  });
  return `{\n${lines.join(',\n')}\n}\n`;
}

const introduction = (all: number, enforced: number) => `# The rules of WebSocket

Each rule of RFC 6455 and RFC 7692, its code and its test.

The code enforces the rule, and the test fails without that code.

RFC 6455 has 181 sentences with MUST, SHOULD or MAY in its sections 3 to 10. Each has an id: \`5.1-2\` is the second one of §5.1.
An id with a letter, such as \`5.2-a\`, is a rule that the RFC states without these words. The ids of RFC 7692, which defines
permessage-deflate, begin with \`7692-\`.

The code enforces ${enforced} of these ${all} rules. The others do not apply, and each has a reason. An exception is a case in
which Pollywog does not follow the rule. The same ids are in the comments beside the code and in the names of the tests: search
the tree for \`[5.1-2]\`. \`make ledger\` writes this page. \`make ledger-proof\` removes or inverts each check, and requires that
its test fails.
`;

function itemOf({ statement, places, tests }: Claim): string {
  const { id, level, party, text, notApplicable, exception, unproven } = statement;
  const head = `**${id}** (${party}${level === 'states' ? '' : `, ${level.replaceAll('+', ', ').replaceAll('-', ' ')}`}) ${text}`;
  if (notApplicable !== undefined) return `${head} Not applicable: ${notApplicable}`;
  const code = unique(places.map(place => `\`${place.name}\` in ${linkTo(place.file)}`));
  const tested = unique(tests.map(test => `“${asProse(test.name)}” in ${linkTo(test.file)}`));
  const departure = exception === undefined ? '' : ` Exception: ${exception}`;
  const proof = unproven === undefined ? '' : ` Not proven: ${unproven}`;
  return `${head}${departure} Code: ${code.join(', ')}. Test: ${tested.join(', ')}.${proof}`;
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}

/** The name of a test, without the characters that are special in Markdown. */
function asProse(name: string): string {
  return name.replace(/[`*|[\]()]/g, '');
}

function linkTo(file: string): string {
  const target = file.startsWith('src/') ? `../${file.slice('src/'.length)}` : `../../${file}`;
  return `[${file.slice(file.lastIndexOf('/') + 1)}](${target})`;
}
