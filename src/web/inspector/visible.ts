/** Text from the network, shown as text. Invisible characters, and those that change the direction of text, are marked by name. */

/** Controls, lone surrogates, line separators and ignorable code points, such as direction marks; not the selectors of emoji. */
const invisible =
  /[\p{Control}\p{Surrogate}\u2028\u2029\ufff9-\ufffb]|(?![\ufe0e\ufe0f])\p{Default_Ignorable_Code_Point}/gu;

const escapes: Readonly<Record<string, string>> = { '\t': '\\t', '\n': '\\n', '\r': '\\r', '\0': '\\0' };

/** `\n`, `\x1b`, `U+202E`. */
function nameOf(character: string): string {
  const code = character.codePointAt(0)!;
  const digits = code.toString(16);
  return (
    escapes[character] ??
    (code < 0x80 ? `\\x${digits.padStart(2, '0')}` : `U+${digits.toUpperCase().padStart(4, '0')}`)
  );
}

/** The text on one line, for labels. */
export function visibleText(text: string): string {
  return text.replace(invisible, nameOf);
}

/**
 * Appends text, with a marked element for each invisible character. It cannot change the direction of other text.
 * @param isBlock keeps line breaks and tabs, which are marked too
 */
export function appendVisible(parent: Element, text: string, isBlock = false): void {
  let from = 0;
  for (const match of text.matchAll(invisible)) {
    parent.append(text.slice(from, match.index));
    const mark = document.createElement('span');
    mark.className = 'mark-of';
    mark.textContent = nameOf(match[0]);
    parent.append(mark);
    if (isBlock && (match[0] === '\n' || match[0] === '\t')) parent.append(match[0]);
    from = match.index + match[0].length;
  }
  parent.append(text.slice(from));
}
