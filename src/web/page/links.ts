/** Links in what people say. */

/** A piece of a text; a link if it has an address. */
export interface Piece {
  readonly text: string;
  readonly href?: string;
}

// No bidirectional controls: they could make an address look like another one.
const candidate = /(?<![\p{L}\p{N}])https?:\/\/[^\s<>"\p{Bidi_Control}]+/giu;

/** The text in pieces, one after the other. Only http and https make links. */
export function splitLinks(text: string): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(candidate)) {
    const address = withoutPunctuation(match[0]);
    const href = hrefOf(address);
    if (href === undefined) continue;
    if (match.index > end) pieces.push({ text: text.slice(end, match.index) });
    pieces.push({ text: address, href });
    end = match.index + address.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** What ends the sentence is not the link's, nor is a bracket that was opened before it. */
function withoutPunctuation(address: string): string {
  for (;;) {
    const last = address.at(-1)!;
    const opening = { ')': '(', ']': '[', '}': '{' }[last];
    const isUnopened = opening !== undefined && address.split(last).length > address.split(opening).length;
    if (!isUnopened && !/[.,;:!?'*_~’”»…]/.test(last)) return address;
    address = address.slice(0, -1);
  }
}

/** An address that names a user looks like another site's: `https://bank.example@evil.example`. */
function hrefOf(address: string): string | undefined {
  try {
    const { protocol, username, password, href } = new URL(address);
    const isPlain = username === '' && password === '' && /^https?:$/.test(protocol);
    return isPlain ? href : undefined;
  } catch {
    return undefined;
  }
}
