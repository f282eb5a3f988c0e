/**
 * The work done since the start. A unit is a message, a recipient, 256 bytes, or the same amount of other work
 * (about 0.1 µs). Costly code adds to it, and the loop compares it with the budgets of `limits.ts`.
 */
export const workUnits = { spent: 0 };
