/** The figure of RFC 6455 §5.2: 32 bits a row, each field a cell, in a CSS grid. */
import type { Field } from '../../explain/records.ts';
import { make } from './elements.ts';
import { visibleText } from './visible.ts';

/** Bytes of a payload that are drawn. */
const maxDrawn = 16;

/** The colour of a field: the class of its cells and its row. */
export function kindOfField(name: string): string {
  const kinds: readonly (readonly [start: string, kind: string])[] = [
    ['FIN', 'f-fin'],
    ['RSV', 'f-rsv'],
    ['opcode', 'f-opcode'],
    ['MASK', 'f-mask'],
    ['Payload len', 'f-length'],
    ['Extended', 'f-length'],
    ['Masking', 'f-key'],
  ];
  return kinds.find(([start]) => name.startsWith(start))?.[1] ?? 'f-payload';
}

/** A figure without cells. */
export function newFigure(): HTMLElement {
  const figure = make('div', 'figure');
  for (let bit = 0; bit < 32; bit++) {
    const number = make('span', 'bit-number');
    // The tens are above the ones, as in the RFC.
    number.textContent = bit % 10 === 0 ? `${bit / 10}\n0` : String(bit % 10);
    number.style.gridArea = `1 / ${bit + 1}`;
    figure.append(number);
  }
  return figure;
}

/** Adds a cell. @param first its first bit; all its bits are in one row */
export function addCell(figure: HTMLElement, name: string, first: number, bits: number): HTMLElement {
  const cell = make('div', `cell ${kindOfField(name)}`);
  cell.style.gridArea = `${(first >> 5) + 2} / ${(first & 31) + 1} / auto / span ${bits}`;
  cell.style.setProperty('--bits', String(bits));
  figure.append(cell);
  return cell;
}

function addLabel(cell: HTMLElement, text: string): void {
  cell.append(make('span', 'cell-name', text));
}

function addBits(cell: HTMLElement, digits: string): void {
  const value = make('span', 'cell-bits');
  for (const digit of digits) value.append(make('span', '', digit));
  cell.append(value);
}

/** @param below a character for each byte, shown below it */
function addBytes(cell: HTMLElement, hex: string, below: readonly string[]): void {
  const value = make('span', 'cell-bytes');
  for (let at = 0; at < hex.length; at += 2) {
    const byte = make('span', '', hex.slice(at, at + 2));
    const character = below[at / 2];
    if (character !== undefined) byte.append(make('small', '', character));
    value.append(byte);
  }
  cell.append(value);
}

export interface FigureOptions {
  /** The index of the frame's first byte. */
  readonly start: number;
  /** The payload before masking, in hexadecimal digits: its characters are shown below the bytes. */
  readonly plain?: string | undefined;
}

/**
 * Adds the cells of fields to a figure.
 * @returns the cells of each field, by its index
 */
export function addFields(
  figure: HTMLElement,
  fields: readonly Field[],
  { start, plain }: FigureOptions,
): ReadonlyMap<number, HTMLElement[]> {
  const cells = new Map<number, HTMLElement[]>();
  const characters = charactersOf(plain ?? '');
  fields.forEach((field, index) => {
    if (!isDrawn(field)) return;
    const own: HTMLElement[] = [];
    cells.set(index, own);
    const first = 8 * (field.at - start) + (field.bit ?? 0);
    const bits = field.bits ?? 8 * Math.min(field.size, maxDrawn);
    const isPayload = kindOfField(field.name) === 'f-payload';
    for (let bit = first; bit < first + bits; ) {
      const end = Math.min(first + bits, ((bit >> 5) + 1) << 5);
      const cell = addCell(figure, field.name, bit, end - bit);
      own.push(cell);
      cell.title = visibleText(`${field.name}: ${field.meaning}`);
      if (bit === first) addLabel(cell, field.name);
      else cell.classList.add('continued');
      if (field.bits !== undefined) addBits(cell, bitsOf(field));
      else
        addBytes(
          cell,
          (field.hex ?? '').slice((bit - first) / 4, (end - first) / 4),
          isPayload ? characters.slice((bit - first) / 8) : [],
        );
      bit = end;
    }
    if (field.bits === undefined && field.size > maxDrawn) {
      const rest = make('div', 'cell-rest', `… ${field.size - maxDrawn} more bytes`);
      rest.style.gridArea = `${((first + bits - 1) >> 5) + 3} / 1 / auto / span 32`;
      figure.append(rest);
    }
  });
  return cells;
}

/** Fields that repeat bytes of another field are not drawn. */
function isDrawn({ name }: Field): boolean {
  return name !== 'Payload, unmasked' && name !== 'Close code' && name !== 'Reason';
}

function bitsOf({ bits = 1, value }: Field): string {
  const number = Number.parseInt(value, value.startsWith('0x') ? 16 : 10);
  return number.toString(2).padStart(bits, '0');
}

/** The printable characters of ASCII; a dot for other bytes. */
export function charactersOf(hex: string): string[] {
  return (hex.match(/../g) ?? []).map(digits => {
    const byte = Number.parseInt(digits, 16);
    return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·';
  });
}
