/** Paths and queries of URLs, and percent-encoding in them and in names that are a part of one (RFC 3986 §2.1). */

import { isUtf8 } from 'node:buffer';
import { ProtocolError } from '../codes.ts';

/** The first segment, as it is encoded; empty if the path does not begin with a slash. */
export function firstSegment(path: string): string {
  if (!path.startsWith('/')) return '';
  const end = path.indexOf('/', 1);
  return end === -1 ? path.slice(1) : path.slice(1, end);
}

/** Decodes once. @returns undefined if the encoding or its UTF-8 is not valid */
export function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/**
 * The parameters of a query (URL Standard §5.1), except that invalid UTF-8 is refused instead of replaced by U+FFFD.
 * @throws ProtocolError 400
 */
export function readQuery(query: string): URLSearchParams {
  if (!isQueryUtf8(query)) throw new ProtocolError(400, 'the query is not percent-encoded UTF-8');
  return new URLSearchParams(query);
}

/** Whether all names and values are UTF-8. ASCII separates them, so it is enough to look at the whole query. */
export function isQueryUtf8(query: string): boolean {
  return !/%[89a-f]/i.test(query) || isUtf8(formDecode(query));
}

/** The bytes of a form's name or value (URL Standard §5.1). A percent sign without two hexadecimal digits stands for itself. */
export function formDecode(text: string): Buffer {
  // Not by a regular expression: a message of 16 MiB can have five million escapes.
  const bytes = Buffer.from(text);
  let size = 0;
  for (let at = 0; at < bytes.length; at++, size++) {
    const byte = bytes[at]!;
    const decoded = byte === percent ? hexValue(bytes[at + 1]) * 16 + hexValue(bytes[at + 2]) : -1;
    if (decoded >= 0) at += 2;
    bytes[size] = decoded >= 0 ? decoded : byte === plus ? space : byte;
  }
  return bytes.subarray(0, size);
}

const percent = 0x25;
const plus = 0x2b;
const space = 0x20;

/** @returns a large negative number for any other character */
function hexValue(character = 0): number {
  if (character >= 0x30 && character <= 0x39) return character - 0x30;
  const lower = character | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -256;
}
