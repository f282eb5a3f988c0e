/** Content codings (RFC 9110 §8.4.1) that the client accepts. */

import { splitList } from './fields.ts';

export type ContentCoding = 'br' | 'gzip';

/**
 * @param codings in the server's order of preference
 * @returns those that the client accepts, in the client's order of preference and then in the server's
 */
export function acceptedCodings(
  acceptEncoding: string | undefined,
  codings: readonly ContentCoding[],
): readonly ContentCoding[] {
  if (acceptEncoding === undefined) return [];
  const qualities = readQualities(acceptEncoding);
  const qualityOf = (coding: ContentCoding) => qualities.get(coding) ?? qualities.get('*') ?? 0;
  return codings.filter(one => qualityOf(one) > 0).sort((one, other) => qualityOf(other) - qualityOf(one));
}

/** A weight, after the last semicolon of an item. One long run of blanks must not be searched again from each of them. */
const weightForm = /^[ \t]*q[ \t]*=[ \t]*(.*)$/;

/** RFC 9110 §12.5.3: codings and their weights. A weight of 0 refuses the coding. */
function readQualities(field: string): ReadonlyMap<string, number> {
  const qualities = new Map<string, number>();
  for (const item of splitList(field.toLowerCase())) {
    const end = item.lastIndexOf(';');
    const weight = end < 0 ? undefined : weightForm.exec(item.slice(end + 1))?.[1];
    const name = weight === undefined ? item : item.slice(0, end).trimEnd();
    qualities.set(name === 'x-gzip' ? 'gzip' : name, weight === undefined ? 1 : Number(weight) || 0);
  }
  return qualities;
}
