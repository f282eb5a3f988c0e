/** Conditional requests (RFC 9110 §13). */

import type { Headers } from '../../protocol/http/fields.ts';

/** What identifies a version of a file. */
export interface Validators {
  /** A strong entity tag, in its quotes. */
  readonly etag: string;
  /** When the file was modified, in milliseconds without a fraction of a second. */
  readonly modified: number;
}

/**
 * Evaluates the conditions of a GET or HEAD, in the order of RFC 9110 §13.2.2.
 * @returns the status of the answer, if that has no content; undefined: the request goes on
 */
export function failedCondition(headers: Headers, { etag, modified }: Validators): 304 | 412 | undefined {
  const ifMatch = headers.get('if-match');
  if (ifMatch !== undefined) {
    // §13.1.1: a strong comparison, and weak tags are never equal in it.
    if (ifMatch.trim() !== '*' && !entityTags(ifMatch).includes(etag)) return 412;
  } else {
    const since = httpDate(headers.get('if-unmodified-since'));
    if (since !== undefined && modified > since) return 412;
  }
  const ifNoneMatch = headers.get('if-none-match');
  if (ifNoneMatch !== undefined) {
    const isKnown =
      ifNoneMatch.trim() === '*' || entityTags(ifNoneMatch).some(tag => weak(tag) === weak(etag));
    return isKnown ? 304 : undefined;
  }
  const since = httpDate(headers.get('if-modified-since'));
  return since !== undefined && modified <= since ? 304 : undefined;
}

/** Whether the client has a part of this version (RFC 9110 §13.1.5), so that another part is of use. */
export function allowsRange(headers: Headers, { etag, modified }: Validators): boolean {
  const field = headers.get('if-range')?.trim();
  if (field === undefined) return true;
  // A date is exact here. A weak tag is not equal to any.
  return field.startsWith('"') ? field === etag : httpDate(field) === modified;
}

function entityTags(list: string): readonly string[] {
  return list.match(/(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g) ?? [];
}

/** Of two tags, those that are equal without `W/` are equal in a weak comparison (§8.8.3.2). */
function weak(tag: string): string {
  return tag.replace(/^W\//, '');
}

/** The three forms of RFC 9110 §5.6.7; the third one has no time zone, and is in UTC. */
const dateForm =
  /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$|^[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT$|^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/;

/** @returns milliseconds; undefined if it is not a date, which is then ignored (§13.1.3) */
export function httpDate(field: string | undefined): number | undefined {
  if (field === undefined || !dateForm.test(field)) return undefined;
  const time = Date.parse(field.endsWith('GMT') ? field : `${field} GMT`);
  return Number.isNaN(time) ? undefined : time;
}
