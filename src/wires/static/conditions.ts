/** Conditional requests (RFC 9110 §13). */

import type { Headers } from '../../protocol/http/fields.ts';

/** They identify a version of a file (RFC 9110 §8.8). */
export interface Validators {
  /** A strong entity tag, in its quotes. */
  readonly etag: string;
  /** The time of modification in milliseconds since 1970, a whole number of seconds. */
  readonly modified: number;
}

/**
 * Evaluates the conditions of a GET or HEAD, in the order of RFC 9110 §13.2.2.
 * @returns the status of the answer if a condition fails; otherwise undefined
 */
export function failedCondition(headers: Headers, { etag, modified }: Validators): 304 | 412 | undefined {
  const ifMatch = headers.get('if-match');
  if (ifMatch !== undefined) {
    // §13.1.1: a strong comparison, in which a weak tag equals none.
    if (ifMatch.trim() !== '*' && !entityTags(ifMatch).includes(etag)) return 412;
  } else {
    const since = httpDate(headers.get('if-unmodified-since'));
    if (since !== undefined && modified > since) return 412;
  }
  const ifNoneMatch = headers.get('if-none-match');
  if (ifNoneMatch !== undefined) {
    const isKnown =
      ifNoneMatch.trim() === '*' || entityTags(ifNoneMatch).some(tag => opaqueTag(tag) === opaqueTag(etag));
    return isKnown ? 304 : undefined;
  }
  const since = httpDate(headers.get('if-modified-since'));
  return since !== undefined && modified <= since ? 304 : undefined;
}

/** Whether If-Range permits to send a range: the client has a part of this version (RFC 9110 §13.1.5). */
export function allowsRange(headers: Headers, { etag, modified }: Validators): boolean {
  const field = headers.get('if-range')?.trim();
  if (field === undefined) return true;
  // A later date is not enough. A weak tag is no date.
  return field.startsWith('"') ? field === etag : httpDate(field) === modified;
}

function entityTags(list: string): readonly string[] {
  return list.match(/(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g) ?? [];
}

/** The tag without `W/`, as weak comparisons see it (§8.8.3.2). */
function opaqueTag(tag: string): string {
  return tag.replace(/^W\//, '');
}

/** The three forms of RFC 9110 §5.6.7. The third one has no time zone and means UTC. */
const dateForm =
  /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$|^[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT$|^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/;

/** @returns milliseconds since 1970; undefined if the field is not a date, and so without effect (§13.1.3) */
export function httpDate(field: string | undefined): number | undefined {
  if (field === undefined || !dateForm.test(field)) return undefined;
  const time = Date.parse(field.endsWith('GMT') ? field : `${field} GMT`);
  return Number.isNaN(time) ? undefined : time;
}
