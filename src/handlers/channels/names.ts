/** The names of channels, and the ids of messages, which are cursors. */

import type { Channels } from './records.ts';

const maxNameCharacters = 200;

/** @returns why the name cannot be a channel's, a sentence; undefined if it can */
export function channelNameFault(name: string): string | undefined {
  // A character has at most two UTF-16 units, so a longer name need not be counted.
  if (name === '' || name.length > 2 * maxNameCharacters || [...name].length > maxNameCharacters)
    return `a channel name has 1 to ${maxNameCharacters} characters`;
  if (/\p{Cc}/u.test(name)) return 'a channel name must not contain control characters';
  if (/\p{Surrogate}/u.test(name)) return 'a channel name must be valid Unicode';
  if (name.split('/').some(segment => segment === '' || segment === '.' || segment === '..'))
    return 'the parts of a channel name between slashes must not be empty, "." or ".."';
  return undefined;
}

/** The id of the message with this number, or of the state after it. */
export function idOf({ epoch }: Channels, seq: number): string {
  return `${epoch}-${seq}`;
}

/** A cursor that is older than all messages: everything kept follows, after a gap. */
const beforeAll = -1;

/** A cursor that is newer than all messages: after a gap, only new messages follow. */
export const aheadOfAll = Number.POSITIVE_INFINITY;

/**
 * Reads an id as a cursor. An id of another epoch is older than all messages of this one: its log is gone. An id above all numbers
 * is from before the log lost its end, in a crash of the system or because an older copy replaced it.
 * @returns the number; -1 for an id of another epoch; `aheadOfAll`; or a sentence
 */
export function parseCursor({ epoch, lastSeq }: Channels, id: string): number | string {
  const [, itsEpoch, digits] = /^([A-Za-z0-9]{1,32})-(0|[1-9]\d{0,15})$/.exec(id) ?? [];
  if (digits === undefined) return 'this is not the id of a message; ids look like EPOCH-NUMBER';
  if (itsEpoch !== epoch) return beforeAll;
  const seq = Number(digits);
  return seq <= lastSeq ? seq : aheadOfAll;
}
