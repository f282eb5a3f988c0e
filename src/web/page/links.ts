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

/** Brackets that may belong to the sentence around a link, by the closing one. */
const brackets: readonly (readonly [closing: string, opening: string])[] = [
  [')', '('],
  [']', '['],
  ['}', '{'],
];

/**
 * Punctuation at the end belongs to the sentence, and so does a closing bracket whose opening one is before the link. The
 * brackets are counted once: a message of 64 KiB may consist of them.
 */
function withoutPunctuation(address: string): string {
  const unopened = new Map(
    brackets.map(([closing, opening]) => [closing, countOf(closing, address) - countOf(opening, address)]),
  );
  let end = address.length;
  for (; end > 0; end--) {
    const last = address[end - 1]!;
    const surplus = unopened.get(last) ?? 0;
    if (surplus > 0) unopened.set(last, surplus - 1);
    else if (!/[.,;:!?'*_~’”»…]/.test(last)) break;
  }
  return address.slice(0, end);
}

function countOf(character: string, text: string): number {
  return text.split(character).length - 1;
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
