/** Random numbers that can be repeated: they depend only on the seed. */
export interface Random {
  /** A whole number from 0 to `below` - 1. */
  below(below: number): number;
  /** True once in `times` calls, on average. */
  oneIn(times: number): boolean;
  pick<Item>(items: readonly Item[]): Item;
  bytes(count: number): Buffer;
}

/** @param seed a whole number; its low 32 bits count */
export function newRandom(seed: number): Random {
  let state = seed | 0;
  // mulberry32
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const below = (bound: number) => Math.floor((next() / 2 ** 32) * bound);
  return {
    below,
    oneIn: times => below(times) === 0,
    pick: items => items[below(items.length)]!,
    bytes(count) {
      const bytes = Buffer.alloc(count);
      for (let i = 0; i < count; i++) bytes[i] = below(256);
      return bytes;
    },
  };
}
