/** What commands say, as text for people and as JSON for programs. */
import { printableLine } from '../log/printable.ts';
import type { Column } from './command.ts';

type Columns = Readonly<Record<string, Column>>;

export function showHeading(columns: Columns): string {
  return showLine(columns, (name, { title }) => title ?? name);
}

/** One row, without the line's end. */
export function showRow(columns: Columns, row: Readonly<Record<string, unknown>>): string {
  return showLine(columns, (name, { show }) => {
    const value = row[name];
    if (value === undefined || value === null || value === '') return '-';
    return printableLine(show === undefined ? String(value) : show(value as never));
  });
}

function showLine(columns: Columns, cell: (name: string, column: Column) => string): string {
  const cells = Object.entries(columns).map(([name, column]) => {
    const text = cell(name, column);
    return column.width < 0 ? text.padStart(-column.width) : text.padEnd(column.width);
  });
  return cells.join('  ').trimEnd();
}

/** A sentence as it is; a record as lines of `name: value`, what is within it set in. */
export function showValue(value: unknown, indent = ''): string {
  if (typeof value !== 'object' || value === null) return `${indent}${showWord(value)}\n`;
  let text = '';
  for (const [name, one] of Object.entries(value)) {
    if (one === undefined) continue;
    if (typeof one === 'object' && one !== null) {
      const inner = showValue(one, `${indent}  `);
      text += inner === '' ? `${indent}${name}: -\n` : `${indent}${name}:\n${inner}`;
    } else if (Array.isArray(value)) {
      text += `${indent}${showWord(one)}\n`;
    } else {
      text += `${indent}${name}: ${showWord(one)}\n`;
    }
  }
  return text;
}

function showWord(value: unknown): string {
  return value === null || value === '' ? '-' : printableLine(String(value));
}

/** Milliseconds as people read them: `350ms`, `12s`, `3m20s`, `5h12m`, `3d4h`. */
export function showTime(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)}ms`;
  const seconds = Math.floor(milliseconds / 1000);
  const units: [number, string][] = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'm'],
    [1, 's'],
  ];
  const first = units.findIndex(([size]) => seconds >= size);
  const [size, unit] = units[first]!;
  const [smaller, smallerUnit] = units[first + 1] ?? [1, ''];
  const rest = Math.floor((seconds % size) / smaller);
  return `${Math.floor(seconds / size)}${unit}${rest > 0 ? `${rest}${smallerUnit}` : ''}`;
}

/** Bytes as people read them: `830`, `12.4K`, `3.1M`. */
export function showSize(bytes: number): string {
  let size = bytes;
  let unit = '';
  for (const next of ['K', 'M', 'G', 'T']) {
    if (size < 1024) break;
    size /= 1024;
    unit = next;
  }
  return unit === '' || size >= 100 ? `${Math.round(size)}${unit}` : `${size.toFixed(1)}${unit}`;
}
