/**
 * How much was done since the start, in the units of `turnShare`: a message, a recipient, 256 bytes, or as much time spent
 * otherwise. Costly code adds to it; the loop, which shares out the turn, compares it with its bounds.
 */
export const work = { done: 0 };
