/**
 * Patterns of paths and channel names. `*` stands for any characters within a segment, `**` for any characters, and `{user}`
 * for the name of a user within a segment. A pattern that ends in `/**` also covers the path before it. Everything else
 * stands for itself, in upper and lower case as written.
 */
import { maxPatternLength } from './accessLimits.ts';

export interface Pattern {
  /** As written. */
  readonly source: string;
  /** UTF-16 code units, and `star`, `globstar`, `userName`. */
  readonly codes: readonly number[];
  /** It contains `{user}`. */
  readonly namesUser: boolean;
}

const star = -1;
const globstar = -2;
const userName = -3;
const slash = 0x2f;

/** @returns why the text is not a pattern, a sentence */
export function parsePattern(source: string): Pattern | string {
  if (source === '' || source.length > maxPatternLength)
    return `a pattern has 1 to ${maxPatternLength} characters`;
  if (/\p{Cc}|\p{Surrogate}/u.test(source)) return 'a pattern must not contain control characters';
  const codes: number[] = [];
  for (const [part] of source.matchAll(/\*+|\{[^{}]*\}?|[^*{]+/g)) {
    if (part === '*') codes.push(star);
    else if (part === '**') codes.push(globstar);
    else if (part === '{user}') codes.push(userName);
    else if (part.startsWith('*'))
      return 'a pattern has * within a segment and ** across segments, but not ***';
    else if (part.startsWith('{')) return 'the only name in braces is {user}';
    else codes.push(...codesOf(part));
  }
  // In "ab", {user}* could match the user "a" or the user "ab".
  if (codes.some((code, at) => code < 0 && (codes[at + 1] ?? 0) < 0))
    return '{user} must not be next to *, ** or another {user}: put a character such as - or / between them';
  return { source, codes, namesUser: codes.includes(userName) };
}

/** A pattern that matches only this text: no character is special. */
export function literalPattern(text: string): Pattern {
  return { source: text, codes: codesOf(text), namesUser: false };
}

function codesOf(text: string): number[] {
  return Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
}

/**
 * Whether the pattern covers all of `text`. The time is at most proportional to the product of both lengths.
 * @param user the name for `{user}`; undefined: the name of any user matches
 */
export function matchesPattern(pattern: Pattern, text: string, user?: string): boolean {
  // A name with a slash would span segments, and an empty name identifies no user.
  if (pattern.namesUser && (user === '' || user?.includes('/'))) return false;
  const codes = pattern.namesUser && user !== undefined ? withUser(pattern.codes, user) : pattern.codes;
  return runStates(codes, text);
}

function withUser(codes: readonly number[], user: string): number[] {
  const name = codesOf(user);
  return codes.flatMap(code => (code === userName ? name : code));
}

/** Simulates the automaton of the pattern: a state is an index in `codes`, up to which the text is matched. */
function runStates(codes: readonly number[], text: string): boolean {
  const end = codes.length;
  let states: number[] = [];
  let next: number[] = [];
  /** States are added in ascending order; one that is not greater than the last is there already. */
  const add = (state: number) => {
    if (state > (next.at(-1) ?? -1)) next.push(state);
    if ((codes[state] ?? 0) < 0 && state + 1 > next.at(-1)!) next.push(state + 1);
  };
  add(0);
  for (let at = 0; at < text.length && next.length > 0; at++) {
    [states, next] = [next, states];
    next.length = 0;
    const unit = text.charCodeAt(at);
    for (const state of states) {
      const code = codes[state];
      if (code === unit) add(state + 1);
      else if (code === globstar || (code !== undefined && code < 0 && unit !== slash)) add(state);
    }
  }
  if (next.includes(end)) return true;
  const endsInFolder = codes.at(-1) === globstar && codes.at(-2) === slash;
  return endsInFolder && next.includes(end - 2);
}
