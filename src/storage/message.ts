/** A message as one line of JSON, readable with `tail` and `jq`. */

export interface StoredMessage {
  /** ISO 8601. */
  readonly time: string;
  readonly uid: number;
  readonly nick: string;
  readonly text: string;
}

/** The line, with its newline. Control characters are escaped, because the text is untrusted and may reach a terminal. */
export function toLine({ time, uid, nick, text }: StoredMessage): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return `${JSON.stringify({ time, uid, nick, text }).replace(/[\x7f-\x9f\u2028\u2029]/g, escaped)}\n`;
}

const isoTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

const key = Buffer.from('"text"');

/** A cheap test of a non-empty line. `parseLine` takes a hundred times as long to reject a line. */
export function looksLikeMessage(line: Buffer): boolean {
  return isSpaceOr(openingBrace, line[0]!) && isSpaceOr(closingBrace, line.at(-1)!) && line.includes(key);
}

const openingBrace = 0x7b;
const closingBrace = 0x7d;

/** Other programs may add blanks, a carriage return, or a byte order mark, which starts with 0xef. */
const isSpaceOr = (brace: number, byte: number) =>
  byte === brace || byte === 0x20 || byte === 0x09 || byte === 0x0d || byte === 0xef;

/** @param line with or without a carriage return at its end @returns undefined if it is not a message */
export function parseLine(line: Buffer): StoredMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line.toString().replace(/^\uFEFF/, ''));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { time, uid, nick, text } = value as Record<keyof StoredMessage, unknown>;
  if (typeof time !== 'string' || !isoTime.test(time) || !Number.isSafeInteger(uid)) return undefined;
  if (typeof nick !== 'string' || typeof text !== 'string') return undefined;
  return { time, uid: uid as number, nick, text };
}
