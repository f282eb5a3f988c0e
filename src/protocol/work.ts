/**
 * How much was done since the start, in the units of `turnShare`: a message, a recipient, 256 bytes, or as much time spent
 * otherwise. Whoever does something costly adds to it; whoever shares out the turn looks how far it went.
 */
export const work = { done: 0 };
