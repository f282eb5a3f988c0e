/** Nicks and room names: which are valid, and which count as the same. */
import { isUtf8 } from 'node:buffer';
import { maxNameBytes, maxNameLength } from '../../protocol/limits.ts';

export interface Name {
  /** As shown, in Unicode's composed form (NFC). */
  readonly text: string;
  /** Equal for names that differ only in case, width, composition or spacing. */
  readonly key: string;
}

/** Controls, formats (zero width, text direction), surrogates, private and unassigned characters, line separators. */
const unseen = /[\p{C}\p{Zl}\p{Zp}]/u;

/** Fillers and variation selectors: allowed in a name (emoji have some), but ignored in its key. U+2800 is blank. */
const invisible = /[\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** A zero-width joiner between the parts of an emoji, which is visible. */
const emojiJoin =
  /(?<=\p{Extended_Pictographic}\uFE0F?\p{Emoji_Modifier}?)\u200D(?=\p{Extended_Pictographic})/gu;

/**
 * @param what 'nick' or 'room', for the sentence
 * @returns the name; or a sentence that says why it is invalid
 */
export function readName(bytes: Uint8Array, what: string): Name | string {
  if (bytes.length > maxNameBytes) return tooLong(what);
  if (!isUtf8(bytes)) return `a ${what} must be valid UTF-8`;
  const text = Buffer.from(bytes).toString('utf8').normalize('NFC');
  const length = [...text].length;
  if (length === 0) return `a ${what} must have at least one character`;
  if (length > maxNameLength) return tooLong(what);
  if (unseen.test(text.replace(emojiJoin, '')))
    return `a ${what} must not have control or invisible characters`;
  if (text.trim() !== text) return `a ${what} must not begin or end with a space`;
  // The history separates nick and text by a colon and a space.
  if (text.includes(': ') || text.endsWith(':'))
    return `a ${what} must not have a colon before a space or at its end`;
  const key = fold(text);
  if (/^[\p{M}\s]*$/u.test(key)) return `a ${what} must have a visible character`;
  return { text, key };
}

function tooLong(what: string): string {
  return `a ${what} must have at most ${maxNameLength} characters`;
}

/**
 * Maps compatibility forms (full width, ligatures) to plain ones and ignores case; by way of upper case, `ß` equals `SS`. Letters
 * of different alphabets that look alike stay different.
 */
function fold(text: string): string {
  // Twice: characters may compose again after invisible ones between them are removed.
  return foldOnce(foldOnce(text));
}

function foldOnce(text: string): string {
  const cased = text.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase();
  return cased.normalize('NFKC').replace(invisible, '').replace(/\s+/gu, ' ').trim();
}

/** The value of `--rooms` without rooms. */
export const noRooms = 'none';

/** @returns whether `--rooms` allows any room */
export function hasRooms(patterns: readonly string[]): boolean {
  return patterns.some(pattern => pattern !== noRooms);
}

/**
 * Which channels are rooms.
 * @param patterns names of rooms, in which `*` matches any characters; or `none`
 */
export function newRoomRule(patterns: readonly string[]): (key: string) => boolean {
  if (patterns.includes('*')) return () => true;
  const rules = patterns.filter(pattern => pattern !== noRooms).map(newGlob);
  return key => rules.some(matches => matches(key));
}

/** Not a regular expression: with several `.*` it takes exponential time for some names. */
function newGlob(pattern: string): (key: string) => boolean {
  const [start = '', ...parts] = fold(pattern).split('*');
  const end = parts.pop();
  if (end === undefined) return key => key === start;
  return key => {
    if (!key.startsWith(start)) return false;
    let at = start.length;
    for (const part of parts) {
      const found = key.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return key.length - at >= end.length && key.endsWith(end);
  };
}
