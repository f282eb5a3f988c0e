/** Untrusted text made safe for a terminal or a log: on one line, without control characters. */

/** Characters that JSON does not escape but terminals act on: DEL, C1 controls, line separators, direction changes. */
const unsafe = /[\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;

const control = new RegExp(`[\\x00-\\x1f]|${unsafe.source}`);

const controls = new RegExp(control.source, 'g');

/** Replaces control characters with dots. @param kept the control characters to leave */
export function withDots(text: string, kept: string): string {
  return text.replace(controls, character => (kept.includes(character) ? character : '\u00b7'));
}

/**
 * Makes lines safe for a terminal: control characters become dots, and lines after the first are indented. Byte by byte, because a
 * regular expression takes seconds for a history of line ends.
 * @param text valid UTF-8, which is returned if there is nothing to replace
 */
export function indentedWithDots(text: Uint8Array, indent: Uint8Array): Uint8Array {
  const growth = indent.length + dot.length;
  let found = 0;
  for (let at = 0; at < text.length; at++) if (controlLength(text, at) > 0) found++;
  if (found === 0) return text;
  const result = Buffer.allocUnsafe(text.length + found * growth);
  let to = 0;
  for (let at = 0; at < text.length; ) {
    const byte = text[at]!;
    const length = controlLength(text, at);
    // A CR LF is one line end.
    const isInLineEnd = byte === CR && text[at + 1] === LF;
    if (length === 0 || byte === LF) result[to++] = byte;
    const added = byte === LF ? indent : length === 0 || isInLineEnd ? nothing : dot;
    for (let from = 0; from < added.length; from++) result[to++] = added[from]!;
    at += length || 1;
  }
  return result.subarray(0, to);
}

const LF = 0x0a;
const CR = 0x0d;
const dot = Buffer.from('\u00b7');
const nothing = Buffer.alloc(0);

/** The length of the control character that begins here, in UTF-8. @returns 0 for any other character */
function controlLength(text: Uint8Array, at: number): number {
  const byte = text[at]!;
  if (byte < 0xc2) return byte < 0x20 || byte === 0x7f ? 1 : 0;
  if (byte === 0xc2) return text[at + 1]! < 0xa0 ? 2 : 0;
  if (byte !== 0xe2) return 0;
  const second = text[at + 1]!;
  const third = text[at + 2]!;
  // U+2028 to U+202E, and U+2066 to U+2069.
  const isUnsafe =
    second === 0x80 ? third >= 0xa8 && third <= 0xae : second === 0x81 && third >= 0xa6 && third <= 0xa9;
  return isUnsafe ? 3 : 0;
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
