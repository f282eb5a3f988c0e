/**
 * Breaks the code beside a marker. By default it removes or inverts the statement after the marker: the condition of an `if`
 * becomes false, a returned value is negated, and any other statement is removed. `breaks.txt` has replacements for code where
 * that is impossible, or would break something else:
 *
 *     5.1-4 src/core/send.ts
 *     - writeFrameHeader(chunk.bytes, chunk.used, first, length)
 *     + writeFrameHeader(chunk.bytes, chunk.used, first, length, 0)
 *
 * The text after `-` is the first match below the marker. If a file has several markers of a rule, the first entry is for the
 * first marker.
 */
import { readFileSync } from 'node:fs';
import { root } from '../support/documents.ts';
import type { Place } from './markers.ts';

export interface Break {
  readonly id: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** @throws Error for a malformed entry */
export function parseBreaks(text: string): Break[] {
  const blocks = text.split(/\n{2,}/).filter(block => block.trim() !== '' && !block.startsWith('#'));
  return blocks.map(block => {
    const [, id, file, from, to] = /^(\S+) (\S+)\n- (.+)\n\+(?: (.*))?$/.exec(block.trimEnd()) ?? [];
    if (id === undefined || file === undefined || from === undefined)
      throw new Error(
        `breaks.txt: write a rule and a file, then a line with "- " and one with "+ ", not: ${block}`,
      );
    return { id, file, from, to: to ?? '' };
  });
}

export function readBreaks(): Break[] {
  return parseBreaks(readFileSync(new URL('test/ledger/breaks.txt', root), 'utf8'));
}

/** One way to break the code beside a marker, and the rules that it breaks. */
export interface Attempt {
  readonly ids: readonly string[];
  readonly place: Place;
  /** Undefined: the default. */
  readonly change: Break | undefined;
}

/** Groups the rules of each marker by the way to break them. @throws Error for an entry of `breaks.txt` without a marker */
export function attemptsAt(places: readonly Place[], breaks: readonly Break[]): Attempt[] {
  const seen = new Map<string, number>();
  const used = new Set<Break>();
  const attempts = places.flatMap(place => {
    const changes = place.ids.map(id => {
      const key = `${id} ${place.file}`;
      const number = seen.get(key) ?? 0;
      seen.set(key, number + 1);
      const change = breaks.filter(one => one.id === id && one.file === place.file)[number];
      if (change !== undefined) used.add(change);
      return { id, change };
    });
    const own = changes.filter(({ change }) => change !== undefined);
    const rest = changes.filter(({ change }) => change === undefined).map(({ id }) => id);
    const attempt = (ids: readonly string[], change: Break | undefined): Attempt => ({ ids, place, change });
    // Rules without an entry share the first entry of their marker.
    const shared = own.length > 0 && rest.length > 0 ? rest : [];
    return [
      ...own.map(({ id, change }, index) => attempt(index === 0 ? [id, ...shared] : [id], change)),
      ...(own.length === 0 ? [attempt(rest, undefined)] : []),
    ];
  });
  const idle = breaks.find(one => !used.has(one));
  if (idle !== undefined)
    throw new Error(`breaks.txt: ${idle.file} has no marker [${idle.id}] for this entry; remove it`);
  return attempts;
}

/** @returns the source with the code at the marker broken @throws Error if there is nothing to break there */
export function brokenSource(text: string, { place, change }: Attempt): string {
  const lines = text.split('\n');
  const offset = lines.slice(0, place.line).reduce((sum, line) => sum + line.length + 1, 0);
  if (change !== undefined) {
    const at = text.indexOf(change.from, codeAfter(text, offset));
    if (at === -1)
      throw new Error(
        `${place.file} has no "${change.from}" after the marker [${change.id}]; correct breaks.txt`,
      );
    return text.slice(0, at) + change.to + text.slice(at + change.from.length);
  }
  const broken = withoutStatement(text, codeAfter(text, offset));
  if (broken === undefined)
    throw new Error(
      `${place.file}: the code after [${place.ids.join(', ')}] is not a statement that can be removed; add an entry to breaks.txt`,
    );
  return broken;
}

/** The offset of the first code after `offset`, past any comments. */
function codeAfter(text: string, offset: number): number {
  const comments = /(?:\s|\/\/.*|\/\*[\s\S]*?\*\/|\*.*)*/y;
  comments.lastIndex = offset;
  comments.test(text);
  return comments.lastIndex;
}

function withoutStatement(text: string, at: number): string | undefined {
  const code = text.slice(at);
  const condition = /^if \(/.exec(code);
  if (condition !== null) {
    const from = at + condition[0].length;
    const to = endOfExpression(text, from, ')');
    return `${text.slice(0, from)}false${text.slice(to)}`;
  }
  const end = endOfExpression(text, at, ';');
  const returned = /^return /.exec(code);
  if (returned !== null) {
    const from = at + returned[0].length;
    return `${text.slice(0, from)}!(${text.slice(from, end)})${text.slice(end)}`;
  }
  if (/^(?:export|function|const|let|type|interface|case|default|throw|for|while|switch|[['"`}])/.test(code))
    return undefined;
  return text.slice(0, at) + text.slice(end);
}

/** The offset of the first `closing` outside brackets and strings. */
function endOfExpression(text: string, start: number, closing: string): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const sign = text[at]!;
    if (sign === "'" || sign === '"' || sign === '`') {
      for (at++; text[at] !== sign; at++) if (text[at] === '\\') at++;
    } else if (depth === 0 && sign === closing) return at;
    else if ('([{'.includes(sign)) depth++;
    else if (')]}'.includes(sign)) depth--;
  }
  throw new Error(`no "${closing}" after offset ${start}`);
}
