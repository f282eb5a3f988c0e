/** Compares the observed happenings with the expected ones, and describes both. */
import { withDots } from '../log/printable.ts';
import type { Happening } from './case.ts';

function isEqual(a: Happening, b: Happening): boolean {
  if (a.is === 'timeout' || b.is === 'timeout') {
    return a.is === 'timeout' && b.is === 'timeout' && a.label === b.label;
  }
  const sameKind = a.is === 'message' && b.is === 'message' ? a.isText === b.isText : a.is === b.is;
  return sameKind && a.payload.equals(b.payload);
}

/** Whether both are the same, in the same order. */
export function matches(seen: readonly Happening[], expected: readonly Happening[]): boolean {
  return seen.length === expected.length && canStillMatch(seen, expected);
}

/** Whether the observed happenings are a prefix of the expected ones. */
export function canStillMatch(seen: readonly Happening[], expected: readonly Happening[]): boolean {
  return seen.length <= expected.length && seen.every((one, at) => isEqual(one, expected[at]!));
}

/** Payloads of up to this many bytes are shown whole. */
const shownBytes = 24;

function show(happening: Happening): string {
  if (happening.is === 'timeout') return `timeout ${happening.label}`;
  const { payload } = happening;
  const kind = happening.is === 'message' ? (happening.isText ? 'text' : 'binary') : happening.is;
  if (payload.length === 0) return `${kind} ""`;
  const isReadable = kind === 'text' || /^[\x20-\x7e]*$/.test(payload.toString('latin1', 0, shownBytes));
  if (payload.length > shownBytes) return `${kind} of ${payload.length} bytes`;
  return isReadable
    ? `${kind} "${withDots(payload.toString('utf8'), '')}"`
    : `${kind} ${payload.toString('hex')}`;
}

/** The most happenings in a report's line. */
const shownHappenings = 4;

/** In words for one line of a report. */
export function showHappenings(happenings: readonly Happening[]): string {
  if (happenings.length === 0) return 'nothing';
  const shown = happenings.slice(0, shownHappenings).map(show).join(', ');
  const more = happenings.length - shownHappenings;
  return more > 0 ? `${shown} and ${more} more` : shown;
}
