/** Names of a room's files: `lobby.jsonl`, and after rotation `lobby.1.jsonl`, `lobby.2.jsonl` … */
import { createHash } from 'node:crypto';

const suffix = '.jsonl';

/** File systems limit names to 255 bytes; a rotated name adds a dot and up to 16 digits. */
const maxStem = 255 - suffix.length - 17;

/**
 * The room's name as the beginning of a file name: its UTF-8 bytes, percent-encoded except `a-z 0-9 _ -`. Different rooms
 * have different stems. A stem has no dot, so it cannot leave the directory or match another room's rotated file.
 * @throws Error for an empty name, and for half a surrogate pair, which UTF-8 cannot encode
 */
export function stemOf(room: string): string {
  if (room === '' || /\p{Surrogate}/u.test(room)) throw new Error('this room name cannot be a file name');
  // A leading hyphen is encoded, too: `tail *.jsonl` would read the file name as an option.
  const stem = room.replace(/^-|[^a-z0-9_-]/gu, percentEncoded);
  if (stem.length <= maxStem) return stem;
  // Encoding produces no tilde, so a shortened stem never equals another room's full stem.
  const ending = `~${createHash('sha256').update(room).digest('hex')}`;
  return stem.slice(0, maxStem - ending.length) + ending;
}

function percentEncoded(character: string): string {
  return Buffer.from(character).toString('hex').toUpperCase().replace(/../g, '%$&');
}

/** The name of the file that receives new messages. */
export function currentName(stem: string): string {
  return stem + suffix;
}

/** @param number from 1, the higher the newer */
export function rotatedName(stem: string, number: number): string {
  return `${stem}.${number}${suffix}`;
}

/** The stem and number of a rotated file; undefined for any other file. */
export function parseRotatedName(name: string): { stem: string; number: number } | undefined {
  const [, stem, digits] = /^([^.]+)\.([1-9]\d{0,14})\.jsonl$/.exec(name) ?? [];
  return stem === undefined ? undefined : { stem, number: Number(digits) };
}
