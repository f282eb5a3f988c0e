/** The names of users. */
import { maxUserLength } from '../protocol/accessLimits.ts';

/** @returns why this cannot be a user's name, a sentence; undefined if it can */
export function userFault(name: string): string | undefined {
  if (name === '' || name.length > maxUserLength)
    return `the name of a user has 1 to ${maxUserLength} characters`;
  if (/\p{Cc}/u.test(name)) return 'the name of a user must not contain control characters';
  if (/\p{Surrogate}/u.test(name)) return 'the name of a user must be valid Unicode';
  return undefined;
}
