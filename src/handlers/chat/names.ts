/** Nicks and the names of rooms: what is fit for one, and which of them are the same. */
import { isUtf8 } from 'node:buffer';
import { maxNameBytes, maxNameLength } from '../../protocol/limits.ts';

export interface Name {
  /** As it is shown: in Unicode's composed form (NFC). */
  readonly text: string;
  /** Equal for names that differ only in case, width, composition or spacing. */
  readonly key: string;
}

/** Controls, formats (zero width, text direction), surrogates, private and unassigned characters, line separators. */
const unseen = /[\p{C}\p{Zl}\p{Zp}]/u;

/** Fillers and selectors: they may stand in a name (an emoji has some), but make no other name of it. U+2800 is blank. */
const invisible = /[\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** Of those, what joins the parts of one emoji is seen. */
const emojiJoin =
  /(?<=\p{Extended_Pictographic}\uFE0F?\p{Emoji_Modifier}?)\u200D(?=\p{Extended_Pictographic})/gu;

/**
 * @param what 'nick' or 'room', for the sentence
 * @returns the name; or a string, the sentence that says why it is not fit
 */
export function readName(bytes: Uint8Array, what: string): Name | string {
  if (bytes.length > maxNameBytes) return tooLong(what);
  if (!isUtf8(bytes)) return `a ${what} is UTF-8`;
  const text = Buffer.from(bytes).toString('utf8').normalize('NFC');
  const length = [...text].length;
  if (length === 0) return `a ${what} has at least one character`;
  if (length > maxNameLength) return tooLong(what);
  if (unseen.test(text.replace(emojiJoin, ''))) return `a ${what} has no control or invisible characters`;
  if (text.trim() !== text) return `a ${what} does not begin or end with a space`;
  // In the history a nick stands before a colon: `nick: text`.
  if (text.includes(': ') || text.endsWith(':'))
    return `a ${what} has no colon before a space, or at its end`;
  const key = fold(text);
  if (/^[\p{M}\s]*$/u.test(key)) return `a ${what} has a visible character`;
  return { text, key };
}

function tooLong(what: string): string {
  return `a ${what} has at most ${maxNameLength} characters`;
}

/**
 * Compatibility forms (full width, ligatures) become plain ones; by way of upper case, such as `ß` and `SS` meet, too.
 * Letters of different alphabets that look alike stay different.
 */
function fold(text: string): string {
  // Twice, as what is left when something was taken out may compose once more.
  return foldOnce(foldOnce(text));
}

function foldOnce(text: string): string {
  const cased = text.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase();
  return cased.normalize('NFKC').replace(invisible, '').replace(/\s+/gu, ' ').trim();
}
