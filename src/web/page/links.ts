/** Finds links in messages. */

/** A piece of a text; a link if it has `href`. */
export interface Piece {
  readonly text: string;
  readonly href?: string;
}

// Without bidirectional controls, which could disguise an address.
const candidate = /(?<![\p{L}\p{N}])https?:\/\/[^\s<>"\p{Bidi_Control}]+/giu;

/** Splits a text into plain pieces and links (http and https only). */
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

/** Brackets that may surround a link. */
const brackets: readonly (readonly [closing: string, opening: string])[] = [
  [')', '('],
  [']', '['],
  ['}', '{'],
];

/**
 * Strips trailing punctuation, and closing brackets whose opening one is before the link. Counts brackets only once: a message of
 * 64 KiB may consist of them.
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

/** Rejects addresses with a user name, which can imitate another site: `https://bank.example@evil.example`. */
function hrefOf(address: string): string | undefined {
  try {
    const { protocol, username, password, href } = new URL(address);
    const isPlain = username === '' && password === '' && /^https?:$/.test(protocol);
    return isPlain ? href : undefined;
  } catch {
    return undefined;
  }
}
