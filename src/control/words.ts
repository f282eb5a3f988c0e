/** A line as words, as a shell splits it, without anything that a shell would put in: no variables, no files' names. */
import { UsageError } from '../options/error.ts';

const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '"': '"', '\\': '\\' };

/**
 * Words stand between blanks. In 'single quotes' all is as it stands; in "double quotes" `\n`, `\t`, `\r`, `\"`, `\\` and
 * `\u{1f438}` are what they are in JSON; elsewhere a backslash takes away the meaning of what follows.
 * @throws UsageError where a quote is not closed
 */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  const piece = /[ \t]+|'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^ \t'"\\]+)|(.)/gsu;
  for (const [, single, double, escaped, plain, stray] of line.matchAll(piece)) {
    if (stray !== undefined)
      throw new UsageError(`a ${stray === '\\' ? 'backslash' : 'quote'} at the end is open`);
    const text = single ?? plain ?? escaped ?? (double === undefined ? undefined : unescaped(double));
    if (text !== undefined) word = (word ?? '') + text;
    else if (word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

function unescaped(text: string): string {
  return text.replace(/\\(?:u\{([\da-f]{1,6})\}|u([\da-f]{4})|(.))/gisu, (all, braced, four, one) => {
    const code = Number.parseInt(braced ?? four ?? '', 16);
    if (code <= 0x10_ff_ff) return String.fromCodePoint(code);
    return escapes[one] ?? all;
  });
}
