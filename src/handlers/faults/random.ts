/** Repeatable random numbers. */

export interface Random {
  /** At least 0, and below 1. */
  next(): number;
  /** A whole number from 0 to `bound` - 1. */
  below(bound: number): number;
  bytes(count: number): Buffer;
}

/** The generator mulberry32. @param seed whole numbers; only the low 32 bits of each matter */
export function newRandom(...seed: readonly number[]): Random {
  let state = 0;
  for (const part of seed) state = Math.imul(state ^ part, 0x9e3779b1) ^ (state >>> 15);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number): number => Math.floor(next() * bound);
  return {
    next,
    below,
    bytes(count) {
      const bytes = Buffer.alloc(count);
      for (let i = 0; i < count; i++) bytes[i] = below(256);
      return bytes;
    },
  };
}
