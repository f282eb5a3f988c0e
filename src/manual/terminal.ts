/** Sets Markdown as plain text for a terminal. */
import { type Block, parseMarkdown, type Span, spansOf } from './markdown.ts';
import { pageOf } from './pages.ts';

/** Between the columns of a table. */
const gap = '  ';
const bullet = '- ';

/** The page for a terminal of `width` columns, without a final newline. */
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

/** A line of Markdown without its marks. */
export function plainText(line: string): string {
  const spans = spansOf(line, showLink);
  const isQuoted = ({ kind, text }: Span) => kind === 'code' && spans.length > 1 && needsQuotes(text);
  return spans.map(span => (isQuoted(span) ? `"${span.text}"` : span.text)).join('');
}

/** Within a sentence, words and signs need quotes to be seen as code; options, paths and JSON do not. */
function needsQuotes(code: string): boolean {
  if (/^((?!pollywog$)[a-z]+|[^\w/]{1,2})$/.test(code)) return true;
  return code.includes(' ') && !/^[-/{]|"/.test(code);
}

/** Pages and files of the source tree are named by the label; addresses on the web are shown. */
function showLink(label: string, target: string): string {
  if (/^https?:/.test(target)) return `${label} <${target}>`;
  const subject = pageOf(target);
  return subject === undefined ? label : `${label} (help ${subject})`;
}

/** Breaks at spaces; a word that is longer than a line has a line of its own. */
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

/** Side by side if that leaves each column enough room to be read; else one entry below the other. */
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

/** The last column takes the rest of the line. @returns undefined if the others leave it too little */
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

/** The first cell as a title, and below it the others, each after its column's name. */
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
