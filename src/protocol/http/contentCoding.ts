/** Content codings (RFC 9110 §8.4.1) that the client accepts. */

import { splitList } from './fields.ts';

export type ContentCoding = 'br' | 'gzip';

/**
 * @param codings those that exist, the preferred one first
 * @returns the one that the client likes best; undefined: no coding
 */
export function chooseCoding(
  acceptEncoding: string | undefined,
  codings: readonly ContentCoding[],
): ContentCoding | undefined {
  if (acceptEncoding === undefined) return undefined;
  const qualities = readQualities(acceptEncoding);
  let best: ContentCoding | undefined;
  let highest = 0;
  for (const coding of codings) {
    const quality = qualities.get(coding) ?? qualities.get('*') ?? 0;
    if (quality <= highest) continue;
    best = coding;
    highest = quality;
  }
  return best;
}

/** RFC 9110 §12.5.3: codings and their weights. A weight of 0 refuses the coding. */
function readQualities(field: string): ReadonlyMap<string, number> {
  const qualities = new Map<string, number>();
  for (const item of splitList(field.toLowerCase())) {
    const [name = '', weight] = item.split(/[ \t]*;[ \t]*q[ \t]*=[ \t]*/);
    qualities.set(name === 'x-gzip' ? 'gzip' : name, weight === undefined ? 1 : Number(weight) || 0);
  }
  return qualities;
}
