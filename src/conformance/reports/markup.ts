/** Text in XML and HTML. */

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** What XML 1.0 §2.2 allows: no control characters but tab and newlines, no lone surrogates, no U+FFFE and U+FFFF. */
const notXml = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu;

/** For an attribute in quotes, or between tags. */
export function markupText(text: string): string {
  return text.replaceAll(notXml, '\ufffd').replaceAll(/[&<>"']/g, character => entities[character]!);
}
