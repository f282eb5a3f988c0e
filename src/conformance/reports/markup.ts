/** Text in XML and HTML. */

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Characters that XML 1.0 §2.2 forbids: control characters except tabs and newlines, lone surrogates, U+FFFE and U+FFFF. */
const notXml = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu;

/** Escapes text for a quoted attribute, or for the space between tags. */
export function markupText(text: string): string {
  return text.replaceAll(notXml, '\ufffd').replaceAll(/[&<>"']/g, character => entities[character]!);
}
