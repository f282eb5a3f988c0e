/** What a module may send. */
import type * as user from './interface.ts';
import { LentMessage } from './lent.ts';

/** @throws TypeError for what cannot be sent */
export function bytesOf(what: unknown): Uint8Array {
  if (typeof what === 'string') return Buffer.from(what);
  if (what instanceof Uint8Array) return what;
  throw new TypeError(
    `a string, bytes or a message can be sent, not ${what === null ? 'null' : typeof what}`,
  );
}

/** The same, but nobody can change it any more. @throws TypeError likewise */
export function lasting(what: user.Sendable): user.Sendable {
  if (what instanceof LentMessage || typeof what === 'string') return what;
  return Buffer.from(bytesOf(what));
}
