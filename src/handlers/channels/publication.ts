/** Checks of what publishers send, for every way to publish. */

import { isUtf8 } from 'node:buffer';
import { isWellFormed } from '../../options/text.ts';
import {
  maxEventName,
  maxIdempotencyKey,
  maxJsonDepth,
  maxJsonMessage,
  maxTimeToLive,
} from '../../protocol/limits.ts';
import type { MessageKind } from '../../storage/log/records.ts';
import type { Publication } from './records.ts';

/** What a publisher may ask for. */
export type PublicationOptions = Pick<Publication, 'event' | 'ttl' | 'key'>;

/** EventSource has events of its own with two of these names; the server reports missing messages by the third. */
const reservedEvents = ['open', 'error', 'gap'];

/** @returns why nothing can be published with these options, a sentence; undefined if it can */
export function publicationFault({ event, ttl, key }: PublicationOptions): string | undefined {
  if (event !== undefined && !isPlainText(event, maxEventName))
    return `the name of an event has 1 to ${maxEventName} characters, and no control characters`;
  if (event !== undefined && reservedEvents.includes(event))
    return `an event must not be called ${event}, because that name means something else to subscribers`;
  if (ttl !== undefined && !(ttl > 0 && ttl <= maxTimeToLive))
    return `a time to live must be a number of seconds, at most ${maxTimeToLive / 1000}`;
  if (key !== undefined && !isPlainText(key, maxIdempotencyKey))
    return `an idempotency key has 1 to ${maxIdempotencyKey} characters, and no control characters`;
  return undefined;
}

function isPlainText(text: string, most: number): boolean {
  return text !== '' && text.length <= most && !/\p{Cc}/u.test(text) && isWellFormed(text);
}

/** @returns why valid JSON cannot be published, a sentence; undefined if it can */
export function jsonFault(json: Buffer): string | undefined {
  if (json.length > maxJsonMessage)
    return `a JSON message has at most ${maxJsonMessage} bytes; publish a longer one as text`;
  if (!isNestedDeeper(json, maxJsonDepth)) return undefined;
  return `a JSON message has at most ${maxJsonDepth} levels of lists and objects; publish a deeper one as text`;
}

function isNestedDeeper(json: Buffer, most: number): boolean {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!;
    if (byte === quote) isInString = !isInString;
    else if (isInString) {
      if (byte === backslash) at++;
    } else if (byte === openBracket || byte === openBrace) {
      if (++depth > most) return true;
    } else if (byte === closeBracket || byte === closeBrace) depth--;
  }
  return false;
}

const [quote, backslash, openBracket, closeBracket, openBrace, closeBrace] = Buffer.from('"\\[]{}');

/** @returns why the bytes cannot be published as this kind, a sentence; undefined if they can */
export function contentFault(kind: MessageKind, data: Buffer): string | undefined {
  if (kind === 'bytes') return undefined;
  if (!isUtf8(data))
    return `a ${kind === 'json' ? 'JSON' : 'text'} message must be UTF-8, and this one is not`;
  if (kind === 'text') return undefined;
  const fault = jsonFault(data);
  if (fault !== undefined) return fault;
  try {
    JSON.parse(data.toString());
    return undefined;
  } catch {
    return 'the message is not valid JSON';
  }
}
