/** Converts a page of Markdown to plain text for a terminal. */
import { type Block, parseMarkdown, type Span, spansOf } from './markdown.ts';
import { pageOf } from './pages.ts';

/** Separates the columns of a table. */
const gap = '  ';
const bullet = '- ';

/** Formats a page for a terminal of `width` columns, without a final newline. */
export function terminalText(markdown: string, width = 80): string {
  const lines = parseMarkdown(markdown).flatMap(block => [...linesOf(block, width - 2), '']);
  return lines
    .map(line => line.trimEnd())
    .join('\n')
    .trimEnd();
}

function linesOf(block: Block, width: number): string[] {
  switch (block.kind) {
    case 'heading':
      return [block.level === 1 ? plainText(block.text).toUpperCase() : plainText(block.text)];
    case 'paragraph':
      return indented(wrapped(plainText(block.text), width - 2));
    case 'list':
      return indented(block.items.flatMap(item => hanging(bullet, wrapped(plainText(item), width - 4))));
    case 'table':
      return indented(tableLines(block.head, block.rows, width - 2));
    case 'code': {
      const longest = Math.max(...block.lines.map(line => line.length));
      return indented(block.lines, Math.max(0, Math.min(4, width + 2 - longest)));
    }
  }
}

function indented(lines: readonly string[], by = 2): string[] {
  return lines.map(line => ' '.repeat(by) + line);
}

function hanging(first: string, lines: readonly string[]): string[] {
  return lines.map((line, index) => (index === 0 ? first : ' '.repeat(first.length)) + line);
}

/** Removes the Markdown markup from a line. */
export function plainText(line: string): string {
  const spans = spansOf(line, showLink);
  const isQuoted = ({ kind, text }: Span) => kind === 'code' && spans.length > 1 && needsQuotes(text);
  return spans.map(span => (isQuoted(span) ? `"${span.text}"` : span.text)).join('');
}

/** Quotes code in a sentence if it looks like plain words or punctuation; options, paths and JSON need no quotes. */
function needsQuotes(code: string): boolean {
  if (/^((?!pollywog$)[a-z]+|[^\w/]{1,2})$/.test(code)) return true;
  return code.includes(' ') && !/^[-/{]|"/.test(code);
}

/** Shows a link: by its label if it leads to a page or a source file, with its URL if it leads to the web. */
function showLink(label: string, target: string): string {
  if (/^https?:/.test(target)) return `${label} <${target}>`;
  const subject = pageOf(target);
  return subject === undefined ? label : `${label} (help ${subject})`;
}

/** Wraps text at spaces. A word longer than a line gets its own line. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

/** Formats a table in columns if each column has enough room, or else as a list of entries. */
export function tableLines(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  width: number,
): string[] {
  const cells = [head, ...rows].map(row => row.map(plainText));
  const widths = columnWidths(cells, width);
  if (widths === undefined) return entryLines(cells, width);
  const [title = [], ...body] = cells.map(row => rowLines(row, widths));
  if (cells[0]!.every(cell => cell === '')) return body.flat();
  return [...title, widths.map(size => '-'.repeat(size)).join(gap), ...body.flat()];
}

/** Computes the widths; the last column takes the rest. @returns undefined if the rest is too narrow */
function columnWidths(cells: readonly (readonly string[])[], width: number): number[] | undefined {
  const natural = cells[0]!.map((_, column) => Math.max(...cells.map(row => row[column]?.length ?? 0)));
  const before = natural.slice(0, -1).reduce((sum, size) => sum + size + gap.length, 0);
  const left = width - before;
  const last = natural.at(-1)!;
  return left < Math.min(last, 36) ? undefined : [...natural.slice(0, -1), Math.min(last, left)];
}

function rowLines(row: readonly string[], widths: readonly number[]): string[] {
  const columns = widths.map((size, column) => wrapped(row[column] ?? '', size));
  const height = Math.max(...columns.map(lines => lines.length));
  return Array.from({ length: height }, (_, line) =>
    columns
      .map((lines, column) => (lines[line] ?? '').padEnd(widths[column]!))
      .join(gap)
      .trimEnd(),
  );
}

/** Formats a row as an entry: the first cell as its title, the other cells below it with their column names. */
function entryLines([head = [], ...rows]: readonly (readonly string[])[], width: number): string[] {
  return rows.flatMap(([term = '', ...rest]) => {
    const details = rest.flatMap((cell, index) => {
      const name = head[index + 1] ?? '';
      const text = name === '' || rest.length === 1 ? cell : `${name}: ${cell}`;
      return cell === '' ? [] : hanging('    ', wrapped(text, width - 4));
    });
    return [...wrapped(term, width), ...details];
  });
}
