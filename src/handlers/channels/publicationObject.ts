/**
 * A publication as a JSON object, which subscribers send over WebSocket, and programs write:
 *
 *     {"publish":"orders","data":…}        or "base64"; with "event", "ttl" and "key" as for POST
 */

import { isWellFormed } from '../../options/text.ts';
import { decodeBase64 } from '../../protocol/base64.ts';
import { channelNameFault } from './names.ts';
import { jsonFault, publicationFault } from './publication.ts';
import type { Publication } from './records.ts';

/** The reason to refuse an object, a sentence for its sender. */
export class Refusal extends Error {}

/** The members of a publication besides `publish`. */
export const publicationMembers: readonly string[] = ['data', 'base64', 'event', 'ttl', 'key'];

export type JsonObject = Readonly<Record<string, unknown>>;

/** A publication without its channel and publisher. */
type Content = Omit<Publication, 'channel' | 'publisher'>;

/** @throws Refusal if the member is not the name of a channel */
export function readChannelName(object: JsonObject, member: string): string {
  const name = object[member];
  if (typeof name !== 'string') throw new Refusal(`"${member}" must be the name of a channel`);
  const fault = channelNameFault(name);
  if (fault !== undefined) throw new Refusal(fault);
  return name;
}

/**
 * Reads the members of a publication, except for the channel.
 * @param text the JSON that `object` was parsed from
 * @throws Refusal
 */
export function readPublication(object: JsonObject, text: string): Content {
  const { event, ttl, key } = object;
  if (
    (event !== undefined && typeof event !== 'string') ||
    (ttl !== undefined && typeof ttl !== 'number') ||
    (key !== undefined && typeof key !== 'string')
  )
    throw new Refusal('"event" and "key" must be strings, and "ttl" a number of seconds');
  const options = { event, ttl: ttl === undefined ? undefined : ttl * 1000, key };
  const fault = publicationFault(options);
  if (fault !== undefined) throw new Refusal(fault);
  return { ...readData(object, text), ...options };
}

function readData({ data, base64 }: JsonObject, text: string): Pick<Publication, 'kind' | 'data'> {
  if ((data === undefined) === (base64 === undefined))
    throw new Refusal('give the message in "data", or its bytes in "base64"');
  if (data === undefined) {
    const bytes = decodeBase64(base64);
    if (bytes === undefined) throw new Refusal('"base64" is not valid base64');
    return { kind: 'bytes', data: bytes };
  }
  // Not `JSON.stringify(data)`, which would round large numbers.
  if (typeof data !== 'string') {
    const json = Buffer.from(memberText(text, 'data'));
    const fault = jsonFault(json);
    if (fault !== undefined) throw new Refusal(fault);
    return { kind: 'json', data: json };
  }
  if (!isWellFormed(data)) throw new Refusal('"data" must be valid Unicode');
  return { kind: 'text', data: Buffer.from(data) };
}

/** JSON outside of strings, without brackets and commas. */
const plainJson = /[^"{}[\],]*/y;

/** @returns the index after the string of JSON that begins at `start` */
function endOfString(json: string, start: number): number {
  for (let at = start + 1; ; ) {
    const quote = json.indexOf('"', at);
    let escapes = quote;
    while (escapes > at && json[escapes - 1] === '\\') escapes--;
    at = quote + 1;
    if ((quote - escapes) % 2 === 0) return at;
  }
}

/**
 * The text of a member's value.
 * @param json an object that `JSON.parse` has accepted, and that has the member
 */
export function memberText(json: string, name: string): string {
  let found = '';
  let at = json.indexOf('{') + 1;
  while (json[at] !== '}') {
    const keyAt = json.indexOf('"', at);
    at = endOfString(json, keyAt);
    const key = JSON.parse(json.slice(keyAt, at)) as string;
    at = json.indexOf(':', at) + 1;
    const from = at;
    for (let depth = 0; depth > 0 || (json[at] !== ',' && json[at] !== '}'); ) {
      const character = json[at]!;
      if (character === '{' || character === '[') depth++;
      else if (character === '}' || character === ']') depth--;
      if (character === '"') at = endOfString(json, at);
      else if (/[{}[\],]/.test(character)) at++;
      else {
        plainJson.lastIndex = at;
        at += plainJson.exec(json)![0].length;
      }
    }
    // The last one wins, as in `JSON.parse`.
    if (key === name) found = json.slice(from, at).trim();
    if (json[at] === ',') at++;
  }
  return found;
}
