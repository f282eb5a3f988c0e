/** How the files of a room are called: `lobby.jsonl`, and once it was rotated `lobby.1.jsonl`, `lobby.2.jsonl` ... */
import { createHash } from 'node:crypto';

const suffix = '.jsonl';

/** What file systems take for a name is 255 bytes; the suffixes have a number of at most 16 digits between two dots. */
const longestStem = 255 - suffix.length - 17;

/**
 * The room's name as the beginning of a file name: its UTF-8 bytes, percent-encoded where they are not `a-z 0-9 _ -`.
 * Different rooms never get the same one. There is no dot in it: it cannot climb out of the directory, nor look like
 * another room's rotated file.
 * @throws Error for the empty name, and for what has no UTF-8 (half a surrogate pair)
 */
export function stemOf(room: string): string {
  if (room === '' || /\p{Surrogate}/u.test(room)) throw new Error('this room name cannot be a file name');
  // A hyphen in front is encoded, too: `tail *.jsonl` would take the file for an option.
  const stem = room.replace(/^-|[^a-z0-9_-]/gu, percentEncoded);
  if (stem.length <= longestStem) return stem;
  // No encoded name has a tilde, so a shortened one is never another room's whole one.
  const ending = `~${createHash('sha256').update(room).digest('hex')}`;
  return stem.slice(0, longestStem - ending.length) + ending;
}

function percentEncoded(character: string): string {
  return Buffer.from(character).toString('hex').toUpperCase().replace(/../g, '%$&');
}

/** The file that is appended to. */
export function currentName(stem: string): string {
  return stem + suffix;
}

/** @param number from 1, the higher the newer */
export function rotatedName(stem: string, number: number): string {
  return `${stem}.${number}${suffix}`;
}

/** Which room's file this is, and its number; undefined for all that is not a rotated file. */
export function parseRotatedName(name: string): { stem: string; number: number } | undefined {
  const [, stem, digits] = /^([^.]+)\.([1-9]\d{0,14})\.jsonl$/.exec(name) ?? [];
  return stem === undefined ? undefined : { stem, number: Number(digits) };
}
