/**
 * Code on the pages of the course is included by reference: the opening fence names the file and the declaration, and
 * `make tour` writes the lines below it. A test requires that the pages equal the source, so they cannot go stale.
 *
 *     ```ts src/records/table.ts#addEntry
 *     ```ts src/core/close.ts#freeConnections from "for (let" to "  }"
 *     ```ts src/net/handleSocket.ts#HandleSocket.writeOne
 *
 * A declaration begins with its comment. `from "A" to "B"` shows only its lines from the first that contains A to the next that
 * contains B, without their common indentation; they may be one line.
 */
import { readFileSync } from 'node:fs';
import { root } from '../support/documents.ts';

const includeFence =
  /^(```ts (src\/\S+\.ts)#(\w+)(?:\.(\w+))?(?: from "([^"]+)" to "([^"]+)")?)\n.*?^```$/gms;

/** Writes the named source below each fence that names one. @throws Error that names a missing file, declaration or text */
export function includeSource(markdown: string, readSource = readFromTree): string {
  return markdown.replace(includeFence, (_, fence, file, name, method, from, to) => {
    const where = fence.slice('```ts '.length);
    let lines = declarationIn(readSource(file).split('\n'), name, where);
    if (method !== undefined) lines = methodIn(lines, method, where);
    if (from !== undefined) lines = excerpt(lines, from, to, where);
    return `${fence}\n${dedented(lines).join('\n')}\n\`\`\``;
  });
}

function readFromTree(path: string): string {
  return readFileSync(new URL(path, root), 'utf8');
}

/** The lines of a declaration at the top level, formatted as Biome does, from its comment on. */
function declarationIn(lines: readonly string[], name: string, where: string): string[] {
  const declares = new RegExp(
    `^(?:export )?(?:async )?(?:function\\*?|const|let|class|interface|type) ${name}\\b`,
  );
  const start = lines.findIndex(line => declares.test(line));
  if (start === -1) throw new Error(`${where}: the file does not declare ${name}; name another declaration`);
  return lines.slice(commentStart(lines, start), endOfDeclaration(lines, start) + 1);
}

function methodIn(lines: readonly string[], name: string, where: string): string[] {
  const start = lines.findIndex(line => new RegExp(`^  (?:async )?${name}\\(`).test(line));
  if (start === -1) throw new Error(`${where}: the class has no method ${name}; name another one`);
  const end = lines.indexOf('  }', start);
  return lines.slice(commentStart(lines, start), end + 1);
}

/** The first line of the comment that ends above `start`. */
function commentStart(lines: readonly string[], start: number): number {
  const above = lines[start - 1]?.trim() ?? '';
  if (above.startsWith('//')) return commentStart(lines, start - 1);
  if (!above.endsWith('*/')) return start;
  let at = start - 1;
  while (!lines[at]!.trim().startsWith('/**')) at--;
  return at;
}

/** A declaration ends with its line, with a bracket in the first column, or, after `=` or `=>` at a line's end, with `;`. */
function endOfDeclaration(lines: readonly string[], start: number): number {
  const first = lines[start]!;
  if (/;$|\{.*\}$/.test(first)) return start;
  const ends = /=>?$/.test(first) ? /;$/ : /^[\])}].*[^[({]$|^[\])}]$/;
  return lines.findIndex((line, index) => index > start && ends.test(line));
}

function excerpt(lines: readonly string[], from: string, to: string, where: string): string[] {
  const start = lines.findIndex(line => line.includes(from));
  const end = lines.findIndex((line, index) => index >= start && line.includes(to));
  if (start === -1 || end === -1) {
    const missing = start === -1 ? from : to;
    throw new Error(`${where}: the declaration does not contain "${missing}"; choose another text`);
  }
  return lines.slice(start, end + 1);
}

function dedented(lines: readonly string[]): string[] {
  const indents = lines.filter(line => line !== '').map(line => line.search(/\S/));
  const common = Math.min(...indents);
  return lines.map(line => line.slice(common));
}
