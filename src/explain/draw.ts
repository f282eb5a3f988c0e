/** Draws explanations for a terminal: a frame as the figure in RFC 6455 §5.2, then its fields, a line each. */
import { printableLine } from '../log/printable.ts';
import type { Breach, Explanation, Field, FrameExplanation, HandshakeExplanation } from './records.ts';

/** Styles for the parts of the text: colours on a terminal, none otherwise. */
export interface Palette {
  readonly title: (text: string) => string;
  readonly name: (text: string) => string;
  readonly section: (text: string) => string;
  readonly fault: (text: string) => string;
}

const plain = (text: string) => text;
export const noColours: Palette = { title: plain, name: plain, section: plain, fault: plain };

const ansi = (code: number) => (text: string) => `\x1b[${code}m${text}\x1b[0m`;
export const colours: Palette = { title: ansi(1), name: ansi(36), section: ansi(2), fault: ansi(31) };

export function drawAll(explanations: readonly Explanation[], palette: Palette): string {
  return explanations.map(one => drawOne(one, palette).join('\n')).join('\n\n');
}

function drawOne(one: Explanation, palette: Palette): string[] {
  const where = `bytes ${one.at} to ${one.at + one.size - 1} of the ${one.sender}`;
  if (one.kind === 'ignored') return [palette.title(`${one.size} bytes not read`), `  ${where}: ${one.why}`];
  return one.kind === 'frame'
    ? [palette.title(`frame of the ${one.sender}: ${one.summary}`), ...drawFrame(one, palette)]
    : [palette.title(`handshake of the ${one.sender}`), ...drawHandshake(one, palette)];
}

function drawFrame({ at, fields, content, missing, breach }: FrameExplanation, palette: Palette): string[] {
  const rows = fields.map(field => [placeOf(field), field.name, field.value, field.meaning, field.section]);
  return [
    '',
    ...figure(fields, at),
    '',
    ...table(rows, palette),
    ...(content === undefined ? [] : ['', `  ${printableLine(content)}`]),
    ...(missing === 0
      ? []
      : ['', `  incomplete: at least ${missing} more ${missing === 1 ? 'byte' : 'bytes'} must arrive`]),
    ...(breach === undefined ? [] : ['', ...drawBreach(breach, palette)]),
  ];
}

function drawHandshake(
  { lines, accept, missing, breaches }: HandshakeExplanation,
  palette: Palette,
): string[] {
  return [
    '',
    ...lines.flatMap(({ line, meaning, section }) => [
      `  ${palette.name(printableLine(line))}`,
      `      ${printableLine(meaning)}${section === '' ? '' : `  ${palette.section(section)}`}`,
    ]),
    ...(accept.length === 0
      ? []
      : [
          '',
          '  Sec-WebSocket-Accept, RFC 6455 §4.2.2:',
          ...accept.map(step => `    ${printableLine(step)}`),
        ]),
    ...(missing === 0 ? [] : ['', '  incomplete: the head must end with an empty line']),
    ...breaches.flatMap(breach => ['', ...drawBreach(breach, palette)]),
  ];
}

function drawBreach({ rule, section, at, response }: Breach, palette: Palette): string[] {
  return [
    palette.fault(`  refused: ${printableLine(rule)} (${section}); certain at byte ${at}`),
    `  ${response}`,
  ];
}

/** `0`, `0.4-7` for bits, `6-10` for bytes. */
function placeOf({ at, size, bit, bits = 1 }: Field): string {
  if (bit !== undefined) return bits === 1 ? `${at}.${bit}` : `${at}.${bit}-${bit + bits - 1}`;
  return size === 1 ? String(at) : `${at}-${at + size - 1}`;
}

/** The last two columns are not padded: long meanings would push the sections out of sight. */
function table(rows: readonly (readonly string[])[], palette: Palette): string[] {
  const widths = [0, 1, 2].map(column => Math.max(...rows.map(row => row[column]!.length)));
  return rows.map(([place = '', name = '', value = '', meaning = '', section = '']) => {
    const start = `  ${place.padEnd(widths[0]!)}  ${palette.name(name.padEnd(widths[1]!))}  ${value.padEnd(widths[2]!)}`;
    return `${start}  ${meaning}  ${palette.section(section)}`;
  });
}

/** A part of a row of 32 bits. */
interface Cell {
  readonly from: number;
  readonly to: number;
  readonly label: string;
  readonly value: string;
}

/** Payloads are drawn up to this many bytes. */
const mostDrawn = 16;

/** Labels of fields that are narrower than their names. */
const shortLabels: Readonly<Record<string, string>> = {
  FIN: 'F',
  RSV1: '1',
  RSV2: '2',
  RSV3: '3',
  MASK: 'M',
};

/** The figure of RFC 6455 §5.2: a label and the bits or bytes of each field, 32 bits a row. */
function figure(fields: readonly Field[], start: number): string[] {
  const rows: Cell[][] = [];
  for (const field of fields.filter(isDrawn)) {
    const first = 8 * (field.at - start) + (field.bit ?? 0);
    const bits = field.bits ?? 8 * Math.min(field.size, mostDrawn);
    for (let bit = first; bit < first + bits; ) {
      const row = bit >> 5;
      const end = Math.min(first + bits, (row + 1) << 5);
      const isCut = end === first + bits && field.size > mostDrawn;
      rows[row] ??= [];
      rows[row].push({
        from: bit & 31,
        to: ((end - 1) & 31) + 1,
        label: bit === first ? (shortLabels[field.name] ?? field.name) : '',
        value: cellValue(field, bit - first, end - bit, isCut),
      });
      bit = end;
    }
  }
  const lines = [
    '   0                   1                   2                   3',
    '   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1',
  ];
  rows.forEach((cells, i) => {
    lines.push(
      `  ${border(rows[i - 1] ?? [], cells)}`,
      `  ${line(cells, 'label')}`,
      `  ${line(cells, 'value')}`,
    );
  });
  lines.push(`  ${border(rows.at(-1) ?? [], [])}`);
  return lines;
}

/** Fields that repeat bytes of another field, such as the unmasked payload, are not drawn. */
function isDrawn({ name }: Field): boolean {
  return name !== 'Payload, unmasked' && name !== 'Close code' && name !== 'Reason';
}

function cellValue({ bits, value, hex = '' }: Field, skip: number, count: number, isCut: boolean): string {
  if (bits !== undefined) {
    const number = Number.parseInt(value, value.startsWith('0x') ? 16 : 10);
    return [...number.toString(2).padStart(bits, '0')].join(' ');
  }
  const digits = hex.slice(skip / 4, (skip + count) / 4).replace(/(..)(?=.)/g, '$1 ');
  return isCut ? `${digits} …` : digits;
}

function line(cells: readonly Cell[], what: 'label' | 'value'): string {
  let text = '|';
  for (const cell of cells) {
    const width = 2 * (cell.to - cell.from) - 1;
    const shown = cell[what].slice(0, width);
    const left = Math.floor((width - shown.length) / 2);
    text += `${' '.repeat(left)}${shown}${' '.repeat(width - shown.length - left)}|`;
  }
  return text;
}

/** A line between two rows, with a `+` wherever one of them has a border. */
function border(above: readonly Cell[], below: readonly Cell[]): string {
  const ends = [...above, ...below].flatMap(({ from, to }) => [from, to]);
  const last = Math.max(...ends);
  return Array.from({ length: 2 * last + 1 }, (_, i) =>
    i % 2 === 0 && ends.includes(i / 2) ? '+' : '-',
  ).join('');
}
