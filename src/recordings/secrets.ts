/** Removes credentials from headers, URLs and messages, because people share recordings. */
import { hidden, redact, redactMembers, redactMessage } from '../protocol/http/redact.ts';
import type { RecordedEvent, RecordedHeaders } from './recording.ts';

/** Names of header fields, parameters and members whose values are credentials; not `author`. */
const secretName =
  /token|secret|passw|passphrase|auth(?!or(?!i))|cookie|credential|api[-_]?key|jwt|session|bearer|^(?:key|sig|sign|signature|pass|pwd)$/i;

/** These match `secretName`, but are not secret. */
const publicHeaders: ReadonlySet<string> = new Set(['sec-websocket-key', 'sec-websocket-accept']);

/** Words of the characters of a JSON Web Token, from the length of the shortest token. */
const tokenCharacters = /[\w.-]{11,}/g;
const authorization = /\b(bearer|basic) +[\w.~+/=-]{4,}/gi;

function redactWords(text: string): string {
  const withoutTokens = text.includes('eyJ') ? text.replace(tokenCharacters, redactWebTokens) : text;
  return withoutTokens.replace(authorization, `$1 ${hidden}`);
}

/**
 * Replaces JSON Web Tokens: three parts joined by dots, beginning with `{"` in Base64. A regular expression for whole tokens takes
 * quadratic time: for each `eyJ` in a part, it reads the rest of the part again.
 */
function redactWebTokens(word: string): string {
  const parts = word.split('.');
  const kept: string[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    const mayBegin = i + 2 < parts.length && parts[i + 1] !== '';
    const start = mayBegin ? part.search(/\beyJ[\w-]{5}/) : -1;
    kept.push(start < 0 ? part : part.slice(0, start) + hidden);
    if (start >= 0) i += 2;
  }
  return kept.join('.');
}

function isSecret(name: string): boolean {
  return secretName.test(name);
}

/** A URL or a path with its query. */
export function redactUrl(url: string): string {
  const withoutUser = url.replace(/^(\w+:\/\/)[^/?#@]*@/, `$1${hidden}@`);
  return redactWords(redact(withoutUser, isSecret));
}

export function redactHeaders(headers: RecordedHeaders): RecordedHeaders {
  const entries = Object.entries(headers).map(([name, value]): [string, string] => {
    if (publicHeaders.has(name)) return [name, value];
    if (name === 'sec-websocket-protocol') return [name, redactSubprotocols(value)];
    if (name === 'referer' || name === 'origin' || name === 'location') return [name, redactUrl(value)];
    return [name, isSecret(name) ? hidden : redactWords(value)];
  });
  return Object.fromEntries(entries);
}

/** Browsers cannot set header fields, so some clients offer their token as a subprotocol. The longest common name has 33 characters. */
function redactSubprotocols(list: string): string {
  const offered = list.split(',').map(one => one.trim());
  return offered
    .map((one, index) => {
      const isToken = one.length > 40 || (one.length > 16 && isSecret(one));
      return isToken || isSecret(offered[index - 1] ?? '') ? hidden : redactWords(one);
    })
    .join(', ');
}

/** Removes credentials from the text of a message, or from its beginning. @param isFirst whether it is the sender's first: clients often put credentials there */
export function redactText(text: string, isFirst: boolean): string {
  const known = redactMessage(text);
  return isFirst ? redactMembers(redactWords(known), isSecret) : known;
}

/**
 * @param isFirst whether its message is the sender's first: clients often put credentials there
 * @returns the event without credentials; the same object if it has none
 */
export function redactEvent<Event extends RecordedEvent>(event: Event, isFirst: boolean): Event {
  if (event.kind === 'request')
    return { ...event, target: redactUrl(event.target), headers: redactHeaders(event.headers) };
  if (event.kind === 'response') return { ...event, headers: redactHeaders(event.headers) };
  if (event.kind !== 'frame' || !event.content?.isText) return event;
  const text = event.content.bytes.toString('utf8');
  const redacted = redactText(text, isFirst);
  if (redacted === text) return event;
  return { ...event, raw: undefined, content: { isText: true, bytes: Buffer.from(redacted) } };
}
