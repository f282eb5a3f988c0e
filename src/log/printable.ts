/** Untrusted text made safe for a terminal or a log: on one line, without control characters. */

/** Characters that JSON does not escape but terminals act on: DEL, C1 controls, line separators, direction changes. */
const unsafe = /[\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;

const control = new RegExp(`[\\x00-\\x1f]|${unsafe.source}`);

const controls = new RegExp(control.source, 'g');

/** Replaces control characters with dots. @param kept the control characters to leave */
export function withDots(text: string, kept: string): string {
  return text.replace(controls, character => (kept.includes(character) ? character : '\u00b7'));
}

const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Escapes control characters as JSON does, without adding quotes. */
export function printableLine(text: string): string {
  if (!control.test(text)) return text;
  return text
    .replace(/[\x00-\x1f]/g, character => JSON.stringify(character).slice(1, -1))
    .replace(unsafe, escaped);
}

/**
 * JSON with all control characters escaped.
 * @param value not undefined, and not a function
 * @param indent the number of spaces for each level; undefined: all on one line
 */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(unsafe, escaped);
}
