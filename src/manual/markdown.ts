/**
 * Parses the Markdown of the manual: headings, paragraphs, flat lists, tables and fenced code; within a line `code`, **bold**,
 * *emphasis* and [links](chat.md). The manual uses nothing else; a test holds that.
 */
export type Block =
  | { readonly kind: 'heading'; readonly level: number; readonly text: string }
  | { readonly kind: 'paragraph'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly string[] }
  | {
      readonly kind: 'table';
      readonly head: readonly string[];
      readonly rows: readonly (readonly string[])[];
    }
  | { readonly kind: 'code'; readonly language: string; readonly lines: readonly string[] };

const fence = '```';

export function parseMarkdown(markdown: string): Block[] {
  const blocks: Block[] = [];
  const lines = markdown.split('\n');
  for (let at = 0; at < lines.length; ) {
    const end = endOfBlock(lines, at);
    if (lines[at] !== '') blocks.push(parseBlock(lines.slice(at, end)));
    at = end;
  }
  return blocks;
}

/** A block ends at an empty line or a heading; code ends at its fence. */
function endOfBlock(lines: readonly string[], start: number): number {
  const first = lines[start]!;
  let end = start + 1;
  if (first.startsWith(fence)) {
    while (end < lines.length && lines[end] !== fence) end++;
    return end + 1;
  }
  if (first === '' || first.startsWith('#')) return end;
  while (end < lines.length && lines[end] !== '' && !/^(#|```)/.test(lines[end]!)) end++;
  return end;
}

function parseBlock(lines: readonly string[]): Block {
  const [first = '', ...rest] = lines;
  if (first.startsWith(fence)) {
    return { kind: 'code', language: first.slice(fence.length), lines: rest.filter(line => line !== fence) };
  }
  const [, marks, title] = /^(#+) (.*)/.exec(first) ?? [];
  if (marks !== undefined) return { kind: 'heading', level: marks.length, text: title! };
  if (first.startsWith('|')) return { kind: 'table', head: cellsOf(first), rows: rest.slice(1).map(cellsOf) };
  const text = lines.map(line => line.trim()).join(' ');
  if (!first.startsWith('- ')) return { kind: 'paragraph', text };
  const items = lines.join('\n').slice(2).split('\n- ');
  return { kind: 'list', items: items.map(item => item.replace(/\n */g, ' ')) };
}

/** In a cell, `\|` stands for a bar. */
function cellsOf(row: string): string[] {
  const cells = row.replace(/^\||\|$/g, '').split(/(?<!\\)\|/);
  return cells.map(cell => cell.trim().replaceAll('\\|', '|'));
}

/** A part of a line in one style. */
export interface Span {
  readonly kind: 'plain' | 'code' | 'bold' | 'emphasis';
  readonly text: string;
}

/** @param showLink returns the text for a link; that text may contain spans */
export function spansOf(line: string, showLink: (label: string, target: string) => string): Span[] {
  const text = line.replace(/\[([^\]]+)\]\(([^)\s]+)\)/g, (_, label, target) => showLink(label, target));
  const parts = text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^\s*](?:[^*]*[^\s*])?\*)/);
  return parts.filter(part => part !== '').map(spanOf);
}

function spanOf(part: string): Span {
  if (part.length > 2 && part.startsWith('`')) return { kind: 'code', text: part.slice(1, -1) };
  if (part.length > 4 && part.startsWith('**')) return { kind: 'bold', text: part.slice(2, -2) };
  if (part.length > 2 && part.startsWith('*')) return { kind: 'emphasis', text: part.slice(1, -1) };
  return { kind: 'plain', text: part };
}
