/** Converts a page of Markdown to roff, for man. */
import { type Block, parseMarkdown, type Span, spansOf } from './markdown.ts';
import { pageOf } from './pages.ts';
import { plainText, tableLines } from './terminal.ts';

/** The width of tables, in columns. */
const tableWidth = 70;

/** A man page and its header fields: `pollywog(1)` has the name `pollywog` and the section `1`. */
export interface ManPage {
  readonly name: string;
  readonly section: string;
  readonly version: string;
  /** A title, a one-line summary as the first paragraph, then the text. */
  readonly markdown: string;
}

/** @param insert returns the roff lines that replace a paragraph such as `@options`; undefined keeps the paragraph */
export function manPage(
  { name, section, version, markdown }: ManPage,
  insert: (paragraph: string) => readonly string[] | undefined = () => undefined,
): string {
  const [, summary, ...body] = parseMarkdown(markdown);
  const lines = [
    `.TH ${escaped(name.toUpperCase())} ${section} "" "Pollywog ${version}"`,
    // Turn off hyphenation and justification.
    '.nh',
    '.ad l',
    '.SH NAME',
    `${escaped(name)} \\- ${summary?.kind === 'paragraph' ? escaped(plainText(summary.text).replace(/\.$/, '')) : ''}`,
    ...(body[0]?.kind === 'heading' || isInsert(body[0]) ? [] : ['.SH DESCRIPTION']),
    ...body.flatMap(block => (isInsert(block) && insert(block.text)) || linesOf(block)),
    ...seeAlso(markdown),
  ];
  return `${lines.join('\n')}\n`;
}

function isInsert(block: Block | undefined): block is Block & { kind: 'paragraph' } {
  return block?.kind === 'paragraph' && block.text.startsWith('@');
}

function linesOf(block: Block): string[] {
  switch (block.kind) {
    case 'heading':
      return [block.level === 2 ? `.SH ${set(block.text.toUpperCase())}` : `.SS ${set(block.text)}`];
    case 'paragraph':
      return ['.PP', set(block.text)];
    case 'list':
      return block.items.flatMap(item => ['.IP \\(bu 2', set(item)]);
    case 'table':
      return example(tableLines(block.head, block.rows, tableWidth));
    case 'code':
      return example(block.lines);
  }
}

/** Preformatted lines. */
export function example(lines: readonly string[]): string[] {
  return ['.PP', '.in +2n', '.EX', ...lines.map(escaped), '.EE', '.in'];
}

/** Converts the spans of a line to roff's fonts. */
function set(line: string): string {
  const text = spansOf(line, showLink).map(setSpan).join('');
  return text.replace(/^([.'])/, '\\&$1');
}

function setSpan({ kind, text }: Span): string {
  if (kind === 'plain') return escapedWithin(text);
  return `\\f${kind === 'emphasis' ? 'I' : 'B'}${escapedWithin(text)}\\fR`;
}

function showLink(label: string, target: string): string {
  return /^https?:/.test(target) ? `${label} <${target}>` : label;
}

/** The pages that the text links to. */
function seeAlso(markdown: string): string[] {
  const targets = [...markdown.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => pageOf(target));
  const found = new Set(targets.filter(subject => subject !== undefined));
  const names = [...found].toSorted().map(subject => `pollywog-${subject}(7)`);
  if (names.length === 0) return [];
  // \% prevents a line break within the name.
  return ['.SH SEE ALSO', [...names, 'pollywog(1)'].map(name => `\\%${escaped(name)}`).join(', ')];
}

/** Escapes text for roff. The hyphens of options stay ASCII, so they can be copied from a terminal. */
export function escaped(text: string): string {
  return escapedWithin(text).replace(/^([.'])/, '\\&$1');
}

/** Characters that roff interprets, or that a terminal without Unicode cannot show. */
const signs: Readonly<Record<string, string>> = {
  '\\': '\\e',
  '-': '\\-',
  '"': '\\(dq',
  '…': '...',
  '→': '\\(->',
  µ: '\\(mc',
  '×': '\\(mu',
  '’': "'",
};

function escapedWithin(text: string): string {
  return text.replace(/[\\"…→µ×’-]/g, sign => signs[sign]!);
}
