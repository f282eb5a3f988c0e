/**
 * The rules of RFC 6455 §3 to §10 and RFC 7692 §5 to §7, as `rfc6455.txt` and `rfc7692.txt` list them in our own words.
 *
 *     == 5.1 Overview
 *
 *     5.1-2 MUST server
 *     A server closes the connection when a frame is not masked.
 *
 *     4.1-1 MAY client
 *     A browser may leave its connections to an agent on the network.
 *     not applicable: pollywog-client is not a browser.
 *
 * An id with a number names a sentence with MUST, SHOULD or MAY: `5.1-2` is the second one of §5.1. An id with a letter, such as
 * `5.2-a`, names a rule that the RFC states without these words. The ids of RFC 7692 begin with `7692-`.
 */
import { readFileSync } from 'node:fs';
import { root } from '../support/documents.ts';

/** An id of a rule, as a part of a regular expression. */
export const idPattern = String.raw`(?:7692-)?(?:[3-9]|10)(?:\.\d+)*-(?:\d+|[a-z])`;

/** The parties that a rule is for; `author` is the author of an extension. */
const parties = ['client', 'server', 'both', 'proxy', 'author'] as const;

export type Party = (typeof parties)[number];

export interface Statement {
  /** Such as `5.1-2`, `5.2-a` or `7692-6-1`. */
  readonly id: string;
  /** Such as `RFC 6455 §5.1`. */
  readonly section: string;
  readonly title: string;
  /** The words in capitals, such as `MUST`, `MUST-NOT` or `MUST+MAY`; `states` if there are none. */
  readonly level: string;
  readonly party: Party;
  readonly text: string;
  /** Why the code does not enforce the rule; undefined if it does. */
  readonly notApplicable: string | undefined;
  /** A case in which the code does not follow the rule, with the reason; undefined if there is none. */
  readonly exception: string | undefined;
  /** Why no test fails without the code that enforces the rule; undefined if one does. */
  readonly unproven: string | undefined;
}

/** @throws Error with the line that is malformed */
export function parseStatements(text: string, rfc: string): Statement[] {
  const statements: Statement[] = [];
  let section = '';
  let title = '';
  const blocks = text.split(/\n{2,}/).map(block => block.trim());
  for (const block of blocks) {
    const heading = /^== ([\d.]+) (.+)$/.exec(block);
    if (heading !== null) {
      section = `${rfc} §${heading[1]}`;
      title = heading[2]!;
    } else if (block !== '' && !block.startsWith('#')) {
      statements.push({ section, title, ...parseBlock(block) });
    }
  }
  return statements;
}

function parseBlock(block: string): Omit<Statement, 'section' | 'title'> {
  const [head = '', ...lines] = block.split('\n');
  const [, id, level, party] = new RegExp(`^(${idPattern}) (\\S+) (${parties.join('|')})$`).exec(head) ?? [];
  if (id === undefined || level === undefined)
    throw new Error(
      `"${head}" is not a rule; write an id, its words in capitals, and one of: ${parties.join(', ')}`,
    );
  const reason = (name: string) => lines.find(line => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const text = lines.filter(line => !/^(not applicable|exception|unproven): /.test(line)).join(' ');
  if (text === '') throw new Error(`${id} has no sentence`);
  return {
    id,
    level,
    party: party as Party,
    text,
    notApplicable: reason('not applicable'),
    exception: reason('exception'),
    unproven: reason('unproven'),
  };
}

function readStatements(name: string, rfc: string): Statement[] {
  return parseStatements(readFileSync(new URL(`test/ledger/${name}.txt`, root), 'utf8'), rfc);
}

export function allStatements(): Statement[] {
  return [...readStatements('rfc6455', 'RFC 6455'), ...readStatements('rfc7692', 'RFC 7692')];
}
