/** A line as words, as a shell splits it, without anything that a shell would put in: no variables, no files' names. */
import { UsageError } from './error.ts';

/** A word of a line, or a piece of one. */
interface Piece {
  /** Neither quoted nor behind a backslash. */
  readonly plain?: string | undefined;
  readonly single?: string | undefined;
  readonly double?: string | undefined;
  readonly escaped?: string | undefined;
  /** The beginning of what has no end. */
  readonly open?: string | undefined;
}

const pieces =
  /[ \t\r\n]+|'(?<single>[^']*)'|"(?<double>(?:[^"\\]|\\.)*)"|\\(?<escaped>.)|(?<plain>[^ \t\r\n'"\\]+)|(?<open>.)/gsu;

/**
 * Words stand between blanks. In 'single quotes' all is as it stands; elsewhere a backslash takes away the meaning of what
 * follows.
 * @param readDouble what a text in "double quotes", without these, stands for
 * @param checkPlain throws where a text must not stand without quotes
 * @throws UsageError where a quote is not closed
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
      throw new UsageError(`a ${open === '\\' ? 'backslash' : 'quote'} at the end is open`);
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

/** `\n`, `\t`, `\r`, `\"`, `\\` and `\u{1f438}` are what they are in JSON. */
function unescaped(text: string): string {
  return text.replace(/\\(?:u\{([\da-f]{1,6})\}|u([\da-f]{4})|(.))/gisu, (all, braced, four, one) => {
    const code = Number.parseInt(braced ?? four ?? '', 16);
    if (code <= 0x10_ff_ff) return String.fromCodePoint(code);
    return escapes[one] ?? all;
  });
}

/** What a shell would take for more than a character of a word. */
const shellCharacters = /[|&;<>()$`*?[\]{}~#!]/;

/**
 * Splits a command as a shell would, quotes and backslashes included, but expands nothing. What a shell would expand or
 * obey has to be quoted: so nothing is passed on as it stands that was meant otherwise.
 * @returns `undefined` where a quote is left open, or something is not quoted that a shell would see more in
 */
export function splitCommand(command: string): readonly string[] | undefined {
  try {
    return splitWords(command, readDouble, text => refuse(text, shellCharacters));
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

/** In double quotes a backslash stands for itself, but before these four. */
function readDouble(text: string): string {
  refuse(text.replace(/\\./gs, ''), /[$`]/);
  return text.replace(/\\(["\\$`])/g, '$1');
}

function refuse(text: string, unfit: RegExp): void {
  if (unfit.test(text)) throw new UsageError('a shell would see more in it');
}
