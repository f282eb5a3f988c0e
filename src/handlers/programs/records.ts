/** Cuts records out of what a program writes, however the system cut that. */
import type { Format } from './format.ts';

export interface Records {
  /** What came and is not read yet is `[start, end)`; of that, no delimiter lies before `searched`. */
  bytes: Buffer;
  start: number;
  end: number;
  searched: number;
  /** The record that `nextRecord` found. */
  recordStart: number;
  recordEnd: number;
}

const nothing = Buffer.alloc(0);

export function newRecords(): Records {
  return { bytes: nothing, start: 0, end: 0, searched: 0, recordStart: 0, recordEnd: 0 };
}

/** Forgets all input that no record was read from yet. */
export function clearRecords(records: Records): void {
  Object.assign(records, newRecords());
}

/** @param chunk given away */
export function addChunk(records: Records, chunk: Buffer): void {
  const { bytes, start, end } = records;
  const size = end - start;
  if (size === 0) {
    Object.assign(records, { bytes: chunk, start: 0, end: chunk.length, searched: 0 });
    return;
  }
  if (end + chunk.length > bytes.length) {
    // Doubles, so that one long record in many pieces costs no more than a few copies.
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * size, size + chunk.length));
    bytes.copy(grown, 0, start, end);
    records.bytes = grown;
    records.start = 0;
    records.searched -= start;
    records.end = size;
  }
  chunk.copy(records.bytes, records.end);
  records.end += chunk.length;
}

/**
 * Finds the next whole record: `bytes[recordStart, recordEnd)`, on loan until more is added.
 * @param longest bytes that a record may have
 * @returns whether there is one
 * @throws Error, a sentence, where it is longer than that, or will be
 */
export function nextRecord(records: Records, { delimiter, headerSize }: Format, longest: number): boolean {
  const { bytes, start, end } = records;
  if (start === end) {
    // All is read: nothing is to be kept for long.
    clearRecords(records);
    return false;
  }
  let stop: number;
  if (delimiter === undefined) {
    if (end - start < headerSize) return false;
    stop = start + headerSize + bytes.readUInt32BE(start);
    checkLength(stop - start, longest);
    if (stop > end) return false;
    records.start = stop;
  } else {
    const from = Math.max(start, records.searched);
    const found = (end === bytes.length ? bytes : bytes.subarray(0, end)).indexOf(delimiter, from);
    if (found < 0) {
      records.searched = end;
      checkLength(end - start, longest);
      return false;
    }
    stop = found;
    checkLength(stop - start, longest);
    records.start = stop + 1;
  }
  records.recordStart = start;
  records.recordEnd = stop;
  return true;
}

function checkLength(length: number, longest: number): void {
  if (length > longest) throw new Error(`more than ${longest} bytes without an end`);
}

/**
 * Nothing more comes: what is there without a delimiter is a record, too. @returns whether there is one
 * @throws Error, a sentence, where the record is cut short
 */
export function lastRecord(records: Records, { delimiter }: Format): boolean {
  const { start, end } = records;
  if (start === end) return false;
  records.recordStart = start;
  records.recordEnd = end;
  records.start = end;
  if (delimiter === undefined) throw new Error('a record that is cut short');
  return true;
}
