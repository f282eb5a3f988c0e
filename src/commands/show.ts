/** Formats the results of commands as text. */
import { printableLine } from '../log/printable.ts';
import type { Column } from './command.ts';

type Columns = Readonly<Record<string, Column>>;

export function formatHeading(columns: Columns): string {
  return formatLine(columns, name => name);
}

/** One row, without the newline. */
export function formatRow(columns: Columns, row: Readonly<Record<string, unknown>>): string {
  return formatLine(columns, (name, { format }) => {
    const value = row[name];
    if (value === undefined || value === null || value === '') return '-';
    return printableLine(format === undefined ? String(value) : format(value as never));
  });
}

/** One row as JSON, without the newline. */
export function formatJsonRow(columns: Columns, row: Readonly<Record<string, unknown>>): string {
  const members = Object.entries(row).map(([name, value]) => {
    if (value === undefined) return '';
    return `,"${name}":${columns[name]?.isJson ? value : JSON.stringify(value)}`;
  });
  return printableLine(`{${members.join('').slice(1)}}`);
}

function formatLine(columns: Columns, cell: (name: string, column: Column) => string): string {
  const cells = Object.entries(columns).map(([name, column]) => {
    const text = cell(name, column);
    return column.width < 0 ? text.padStart(-column.width) : text.padEnd(column.width);
  });
  return cells.join('  ').trimEnd();
}

/** A sentence as it is; a record as lines of `name: value`, nested ones indented. */
export function formatResult(value: unknown, indent = ''): string {
  if (typeof value !== 'object' || value === null) return `${indent}${formatWord(value)}\n`;
  let text = '';
  for (const [name, one] of Object.entries(value)) {
    if (one === undefined) continue;
    if (typeof one === 'object' && one !== null) {
      const inner = formatResult(one, `${indent}  `);
      text += inner === '' ? `${indent}${name}: -\n` : `${indent}${name}:\n${inner}`;
    } else if (Array.isArray(value)) {
      text += `${indent}${formatWord(one)}\n`;
    } else {
      text += `${indent}${name}: ${formatWord(one)}\n`;
    }
  }
  return text;
}

function formatWord(value: unknown): string {
  return value === null || value === '' ? '-' : printableLine(String(value));
}

/** Milliseconds as `350ms`, `12s`, `3m20s`, `5h12m`, `3d4h`. */
export function formatDuration(milliseconds: number): string {
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

/** Bytes as `830`, `12.4K`, `3.1M`. */
export function formatSize(bytes: number): string {
  let size = bytes;
  let unit = '';
  for (const next of ['K', 'M', 'G', 'T']) {
    if (size < 1024) break;
    size /= 1024;
    unit = next;
  }
  return unit === '' || size >= 100 ? `${Math.round(size)}${unit}` : `${size.toFixed(1)}${unit}`;
}
