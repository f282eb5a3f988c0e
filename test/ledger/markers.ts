/**
 * Collects the markers. In a comment, `[5.1-2]` marks the code that enforces the rule; in the name of a test, it says that the
 * test fails without that code. A marker may have several ids: `[5.1-2, 5.1-3]`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { root } from '../support/documents.ts';
import { idPattern } from './statements.ts';

/** A marker in a comment of the source. */
export interface Place {
  readonly ids: readonly string[];
  /** Such as `src/protocol/websocket/frame.ts`. */
  readonly file: string;
  /** The index of the marker's line; the first line is 0. */
  readonly line: number;
  /** The function or declaration around the marker, or below it. */
  readonly name: string;
}

/** A marker in the name of a test, or in a table of cases for a test. */
export interface NamedTest {
  readonly ids: readonly string[];
  readonly file: string;
  /** The name without the markers. */
  readonly name: string;
}

const marker = new RegExp(String.raw`\[(${idPattern}(?:, ${idPattern})*)\]`, 'g');

const splitMarker = new RegExp(String.raw`\[${idPattern}(?:, ${idPattern})*,?$`);

function idsIn(text: string): string[] {
  return [...text.matchAll(marker)].flatMap(([, ids = '']) => ids.split(', '));
}

/** @param folder `src` or `test` @param ending such as `.ts` @returns the paths and texts of the files with that ending */
export function readFolder(folder: string, ending: string): { file: string; text: string }[] {
  const names = readdirSync(new URL(`${folder}/`, root), { recursive: true, encoding: 'utf8' });
  return names
    .filter(name => name.endsWith(ending))
    .sort()
    .map(name => ({
      file: `${folder}/${name}`,
      text: readFileSync(new URL(`${folder}/${name}`, root), 'utf8'),
    }));
}

/** @throws Error for a marker that spans two lines */
export function placesIn(file: string, text: string): Place[] {
  const lines = text.split('\n');
  return lines.flatMap((line, at) => {
    if (splitMarker.test(commentIn(line)))
      throw new Error(`${file}:${at + 1} has a marker that spans two lines; write it on one`);
    const ids = idsIn(commentIn(line));
    return ids.length === 0 ? [] : [{ ids, file, line: at, name: nameAround(lines, at) }];
  });
}

/** The comment of a line, or ''. */
function commentIn(line: string): string {
  return /^\s*(?:\/\*\*|\*|\/\/).*|(?<=\s)\/\/ .*/.exec(line)?.[0] ?? '';
}

const declaration =
  /^\s*(?:export )?(?:async )?(?:(?:function\*?|const|let|interface|type|class) (\w+)|(?:async )?(\w+)(?:\(.*\)(?:: [^{]+)? \{|: .*=> \{?|\($)$)/;

/** The innermost declaration around the line; for a comment at the top level, the declaration below it. */
function nameAround(lines: readonly string[], at: number): string {
  let indent = indentOf(lines[at]!.replace(/^ \*/, '*'));
  if (indent === 0) {
    const below = lines
      .slice(at + 1)
      .find(line => /^(export |async |function|const|let|type|interface)/.test(line));
    return nameIn(below ?? '') ?? '';
  }
  for (let line = at - 1; line >= 0; line--) {
    const text = lines[line]!;
    if (text.trim() === '' || indentOf(text) >= indent || /^\s*(?:\*|\/[/*])/.test(text)) continue;
    const name = nameIn(text);
    if (name !== undefined) return name;
    // Going up, the end of a parameter list comes before its beginning.
    if (!/^\s*\)/.test(text)) indent = Math.max(1, indentOf(text));
  }
  return '';
}

const keywords = ['if', 'for', 'while', 'switch', 'return', 'catch', 'else'];

/** The name that the line declares: a function, a method, or anything at the top level. */
function nameIn(line: string): string | undefined {
  const [, declared, method] = declaration.exec(line) ?? [];
  if (/^\s+(?:const|let)\b/.test(line)) return undefined;
  const name = declared ?? method;
  return name === undefined || keywords.includes(name) ? undefined : name;
}

export function testsIn(file: string, text: string): NamedTest[] {
  const lines = text.split('\n');
  return lines.flatMap((line, at) => {
    if (/^\s*(?:\/\/|\*|\/\*)/.test(line)) return [];
    const literals = line.match(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`/g) ?? [];
    return literals.flatMap(literal => {
      const ids = idsIn(literal);
      return ids.length === 0 ? [] : [{ ids, file, name: nameOf(literal, lines, at) }];
    });
  });
}

/**
 * The name of the test, after the names of its suites. The name of a case in a table fills the placeholder in the name of the
 * test below the table.
 */
function nameOf(literal: string, lines: readonly string[], at: number): string {
  const isWhole = /\btest\($/.test(lines[at - 1] ?? '') || /\btest\(/.test(lines[at]!);
  const part = literal.slice(1, -1);
  const template = isWhole ? undefined : /\btest\(\s*`([^`]*)`/.exec(lines.slice(at).join('\n'))?.[1];
  const whole = template === undefined ? part : template.replace(/\$\{[^}]*\}/, part);
  return [...suitesAround(lines, at), whole]
    .join(' ')
    .replace(marker, '')
    .replace(/\$\{[^}]*\}/g, '…')
    .replaceAll('\\', '')
    .replace(/ +/g, ' ')
    .trim();
}

/** The names of the suites around the line, outermost first. */
function suitesAround(lines: readonly string[], at: number): string[] {
  const suites: string[] = [];
  let indent = indentOf(lines[at]!);
  for (let line = at - 1; line >= 0 && indent > 0; line--) {
    const text = lines[line]!;
    if (text.trim() === '' || indentOf(text) >= indent) continue;
    indent = indentOf(text);
    const [, quoted] = /\bdescribe\((['"`].*?['"`])(?=,)/.exec(text) ?? [];
    if (quoted !== undefined) suites.unshift(quoted.slice(1, -1));
  }
  return suites;
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

export function collectMarkers(): { places: Place[]; tests: NamedTest[] } {
  return {
    places: readFolder('src', '.ts').flatMap(({ file, text }) => placesIn(file, text)),
    tests: readFolder('test', '.test.ts')
      .filter(({ file }) => file !== 'test/ledger/ledger.test.ts')
      .flatMap(({ file, text }) => testsIn(file, text)),
  };
}
