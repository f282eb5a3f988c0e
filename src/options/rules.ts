/**
 * The rules of `--allow`: which clients have which rights on which paths.
 *
 *     /channels/chat-*: subscribe=anyone publish=subscribers
 */
import { type Pattern, parsePattern } from '../protocol/pattern.ts';
import { UsageError } from './error.ts';
import type { Kind } from './values.ts';

/**
 * `connect` opens a handler or a file of the site, `subscribe` receives the messages of a channel, `publish` publishes in it, and
 * `presence` shows the names of its subscribers.
 */
export const rights = ['connect', 'subscribe', 'publish', 'presence'] as const;
export type Right = (typeof rights)[number];

/**
 * Who has a right: `anyone`; any identified `user`; a user whose `token`, signed link or answer of the app grants this
 * channel; `subscribers` of the channel; `commands`, which are requests with the API token or the publish token; `nobody`.
 */
export const whoWords = ['anyone', 'user', 'token', 'subscribers', 'commands', 'nobody'] as const;
export type Who = (typeof whoWords)[number];

/** One line of the table of rights. */
export interface Rule {
  /** As written. */
  readonly line: string;
  /** Of paths, percent-decoded. */
  readonly pattern: Pattern;
  /** The rights that the line names. */
  readonly grants: Readonly<Partial<Record<Right, Who>>>;
}

/** Parts between slashes that no path has when a rule is compared with it: the path of the folder `/docs/` is `/docs`. */
const unmatched: readonly string[] = ['', '.', '..'];

/** @throws UsageError that says what is wrong */
function parseRule(line: string): Rule {
  const colon = line.lastIndexOf(':');
  const words = line
    .slice(colon + 1)
    .split(/\s+/)
    .filter(word => word !== '');
  if (words.length === 0)
    throw fault(line, `after the colon it needs ${rights.join('=, ')}= or several of them`);
  const source = line.slice(0, colon).trim();
  if (/%[0-9a-f]{2}/i.test(source))
    throw fault(line, 'write characters as they are, not percent-encoded: paths are decoded first');
  if (source !== '/' && source.split('/').some((part, at) => at > 0 && unmatched.includes(part)))
    throw fault(
      line,
      'it covers nothing: no path has "//", ends in a slash, or has the parts "." and ".."; write a folder as /docs, and everything below it as /docs/**',
    );
  const pattern = parsePattern(source);
  if (typeof pattern === 'string') throw fault(line, pattern);
  const grants: Partial<Record<Right, Who>> = {};
  for (const word of words) {
    const [right, who] = parseGrant(line, word);
    if (grants[right] !== undefined) throw fault(line, `it names ${right} twice; keep one`);
    grants[right] = who;
  }
  return { line, pattern, grants };
}

function parseGrant(line: string, word: string): [Right, Who] {
  const [name, value] = word.split(/=(.*)/s, 2);
  const right = rights.find(one => one === name);
  if (right === undefined) throw fault(line, `the rights are ${rights.join(', ')}, as in connect=user`);
  const who = whoWords.find(one => one === value);
  if (who === undefined) throw fault(line, `${right}= needs one of ${whoWords.join(', ')}`);
  if (who === 'subscribers' && right !== 'publish' && right !== 'presence')
    throw fault(line, `${right}=subscribers would refuse everyone: only publish and presence can have it`);
  if (who === 'commands' && right !== 'publish')
    throw fault(line, `only publish can be for commands; use ${right}=nobody`);
  return [right, who];
}

function fault(line: string, reason: string): UsageError {
  return new UsageError(`${JSON.stringify(line)} is not a rule: ${reason}`);
}

export const allowRule: Kind<Rule> = {
  placeholder: 'RULE',
  expected: 'a rule such as "/channels/user-{user}: subscribe=user"',
  // A path may contain commas.
  separator: '\n',
  parse: raw => (typeof raw === 'string' && /^\s*\/.*:/s.test(raw) ? parseRule(raw.trim()) : undefined),
  show: ({ line }) => line,
};
