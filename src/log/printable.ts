/** What others have said, as it may stand in a terminal or a log: on one line, and nothing in it is taken for a command. */

/** What JSON leaves as it is, and terminals do not: DEL, the C1 controls, line separators, changes of direction. */
const unsafe = /[\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;

const unfit = new RegExp(`[\\x00-\\x1f]|${unsafe.source}`);

const controls = new RegExp(unfit.source, 'g');

/**
 * Text for a terminal, a dot for each character that a terminal could obey.
 * @param kept control characters that stay as they are
 */
export function withDots(text: string, kept: string): string {
  return text.replace(controls, character => (kept.includes(character) ? character : '\u00b7'));
}

const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Text without quotes around it; what is escaped, is so as in JSON. */
export function printableLine(text: string): string {
  if (!unfit.test(text)) return text;
  return text
    .replace(/[\x00-\x1f]/g, character => JSON.stringify(character).slice(1, -1))
    .replace(unsafe, escaped);
}

/** As JSON, which says the same. @param value not undefined, nor a function */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(unsafe, escaped);
}
