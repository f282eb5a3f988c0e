/** Byte ranges (RFC 9110 §14). */

import { maxRanges } from '../limits.ts';
import { splitList } from './fields.ts';

/** Bytes `[start, end)` of a representation. */
export interface PartRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Reads the field Range.
 * @param size of the representation
 * @returns the ranges in the order of the field; none if no range can be satisfied (416); undefined if the field is not valid
 *   or asks for too much, so the answer is the whole representation
 */
export function readRanges(field: string, size: number): readonly PartRange[] | undefined {
  const [, list] = /^bytes *= *(.+)$/i.exec(field) ?? [];
  const specs = splitList(list ?? '');
  // RFC 9110 §14.2: many small ranges, or overlapping ones, are a broken client or an attack.
  if (specs.length === 0 || specs.length > maxRanges) return undefined;
  const ranges: PartRange[] = [];
  let sum = 0;
  for (const spec of specs) {
    const range = readSpec(spec, size);
    if (range === undefined) return undefined;
    if (range.start >= range.end) continue;
    ranges.push(range);
    sum += range.end - range.start;
  }
  return sum > size ? undefined : ranges;
}

/** `0-499`, `500-`, or `-500` for the last 500. @returns an empty range if it cannot be satisfied; undefined if it is not valid */
function readSpec(spec: string, size: number): PartRange | undefined {
  const [, first = '', last = ''] = /^(\d{0,15})-(\d{0,15})$/.exec(spec) ?? [];
  if (first === '' && last === '') return undefined;
  if (first === '') return { start: Math.max(0, size - Number(last)), end: size };
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  return { start, end: last === '' ? size : Math.min(size, Number(last) + 1) };
}
