/** Splits a line into words as a shell does, without expansion of variables or file names. */
import { UsageError } from './error.ts';

/** A part of a word, by its quoting. */
interface Piece {
  readonly plain?: string | undefined;
  readonly single?: string | undefined;
  readonly double?: string | undefined;
  readonly escaped?: string | undefined;
  /** A quote or backslash without its end. */
  readonly open?: string | undefined;
}

const pieces =
  /[ \t\r\n]+|'(?<single>[^']*)'|"(?<double>(?:[^"\\]|\\.)*)"|\\(?<escaped>.)|(?<plain>[^ \t\r\n'"\\]+)|(?<open>.)/gsu;

/**
 * Splits at blanks. 'Single quotes' are literal; elsewhere a backslash escapes the next character.
 * @param readDouble decodes the text between double quotes
 * @param checkPlain throws if unquoted text is not allowed
 * @throws UsageError if a quote is not closed
 */
export function splitWords(
  line: string,
  readDouble: (text: string) => string = unescaped,
  checkPlain?: (text: string) => void,
): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (const { groups } of line.matchAll(pieces)) {
    const { plain, single, double, escaped, open } = groups as Piece;
    if (open !== undefined)
      throw new UsageError(
        open === '\\'
          ? 'a backslash at the end escapes nothing; remove it'
          : `a quote (${open}) is not closed; add the closing quote`,
      );
    if (plain !== undefined) checkPlain?.(plain);
    const text = single ?? plain ?? escaped ?? (double === undefined ? undefined : readDouble(double));
    if (text !== undefined) word = (word ?? '') + text;
    else if (word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '"': '"', '\\': '\\' };

/** Decodes the escapes of JSON, and `\u{1f438}`. */
function unescaped(text: string): string {
  return text.replace(/\\(?:u\{([\da-f]{1,6})\}|u([\da-f]{4})|(.))/gisu, (all, braced, four, one) => {
    const code = Number.parseInt(braced ?? four ?? '', 16);
    if (code <= 0x10_ff_ff) return String.fromCodePoint(code);
    return escapes[one] ?? all;
  });
}

/** Characters with a meaning for a shell. */
const shellCharacters = /[|&;<>()$`*?[\]{}~#!]/;

/**
 * Splits a command as a shell does. Unquoted shell characters are refused, because nothing here expands them.
 * @returns `undefined` if a quote is not closed, or a shell character is not quoted
 */
export function splitCommand(command: string): readonly string[] | undefined {
  try {
    return splitWords(command, readDouble, text => refuse(text, shellCharacters));
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

/** In double quotes a backslash escapes only these four characters. */
function readDouble(text: string): string {
  refuse(text.replace(/\\./gs, ''), /[$`]/);
  return text.replace(/\\(["\\$`])/g, '$1');
}

function refuse(text: string, unfit: RegExp): void {
  if (unfit.test(text)) throw new UsageError('an unquoted shell character');
}
