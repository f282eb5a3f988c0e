/** Header fields and the parts of their values: tokens, lists, hosts (RFC 9110 §5). */

import { ProtocolError } from '../codes.ts';
import { maxHeaderFields } from '../limits.ts';

/**
 * Header fields by lower-case name. RFC 9110 §5.3: fields with the same name are joined with `, ` in order. A repeated field
 * that must be unique therefore fails the check of its value. Bytes from 0x80 on are latin1.
 */
export type Headers = ReadonlyMap<string, string>;

/** 1 for each byte allowed in a token (RFC 9110 §5.6.2). */
export const tokenBytes = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  if (/[\w!#$%&'*+.^`|~-]/.test(String.fromCharCode(byte))) tokenBytes[byte] = 1;
}

/** Whether `text` is a token (RFC 9110 §5.6.2). The empty string is not. */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (tokenBytes[text.charCodeAt(i)] !== 1) return false;
  }
  return text !== '';
}

/** Whether the comma-separated `list` contains `token` (lower case), ignoring case (RFC 9110 §5.6.1). */
export function hasToken(list: string | undefined, token: string): boolean {
  if (list === undefined) return false;
  const lower = list.toLowerCase();
  for (let at = lower.indexOf(token); at >= 0; at = lower.indexOf(token, at + 1))
    if (isElement(lower, at, at + token.length)) return true;
  return false;
}

/** Whether `list[start, end)` is an element: only blanks separate it from the commas or the ends of the list. */
function isElement(list: string, start: number, end: number): boolean {
  let from = start;
  let to = end;
  while (from > 0 && isBlank(list.charCodeAt(from - 1))) from--;
  while (to < list.length && isBlank(list.charCodeAt(to))) to++;
  return (from === 0 || list[from - 1] === ',') && (to === list.length || list[to] === ',');
}

/** The elements of a comma-separated list of tokens. RFC 9110 §5.6.1.2: a recipient ignores empty elements. */
export function splitList(list: string): string[] {
  return list
    .split(',')
    .map(element => trimBlanks(element, 0, element.length))
    .filter(element => element !== '');
}

/** `text[start, end)` without RFC 9110's OWS around it: spaces and tabs only, while `trim` also removes U+00A0. */
function trimBlanks(text: string, start: number, end: number): string {
  let from = start;
  let to = end;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Whether `text` is a host with or without a port. Accepts only host-name characters, not all of RFC 3986's reg-name. */
export function isHost(text: string): boolean {
  return /^(?:[\w.~-]+|\[[\da-f:.]+\])(?::\d{0,5})?$/i.test(text);
}

/**
 * Reads the field lines in `text` from `from` on. Each ends in CRLF, and `text` has no other control characters except HTAB.
 * @throws ProtocolError with 400 or 431.
 */
export function parseFields(text: string, from: number): Headers {
  const headers = new Map<string, string>();
  let count = 0;
  for (let at = from, lineEnd = 0; at < text.length; at = lineEnd + 2) {
    lineEnd = text.indexOf('\r\n', at);
    if (++count > maxHeaderFields) throw new ProtocolError(431, `more than ${maxHeaderFields} header fields`);
    const colon = text.indexOf(':', at);
    const name = text.slice(at, colon === -1 || colon > lineEnd ? at : colon).toLowerCase();
    // RFC 9112 §5.1: no white space before the colon. §5.2: obs-fold gets a 400.
    if (!isToken(name)) throw new ProtocolError(400, 'a header line is not of the form "Name: value"');
    const value = trimBlanks(text, colon + 1, lineEnd);
    const earlier = headers.get(name);
    if (earlier === undefined) headers.set(name, value);
    // RFC 9112 §3.2: more than one Host gets a 400.
    else if (name === 'host') throw new ProtocolError(400, 'the Host header is repeated');
    // RFC 6455 §9.1 [9.1-3, 9.1-4]: several lines are equivalent to one with commas.
    else headers.set(name, `${earlier}, ${value}`);
  }
  return headers;
}
