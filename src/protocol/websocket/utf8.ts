/**
 * UTF-8, checked as it arrives (RFC 3629; RFC 6455 §8.1): an invalid byte is found at once, not at the end of its message.
 *
 * Pieces of a text may end inside a character. The state between two pieces is one small integer.
 */
import { isUtf8 } from 'node:buffer';

/** The state between two characters. */
export const utf8Start = 0;
/** The state after an invalid byte. */
export const utf8Invalid = -1;

/**
 * The state inside a character is `count << 16 | lowest << 8 | highest`: the number of missing continuation bytes, and the
 * range of the next one. The range is narrower than 0x80 to 0xBF after E0 and F0 (no overlong forms), ED (no surrogates)
 * and F4 (nothing above U+10FFFF), RFC 3629 §4.
 */
const continuation = (count: number, lowest = 0x80, highest = 0xbf) =>
  (count << 16) | (lowest << 8) | highest;

function afterLeadByte(byte: number): number {
  if (byte < 0x80) return utf8Start;
  // RFC 6455 §8.1 [8.1-1]: a character never begins with a continuation byte, C0 or C1; C0 and C1 begin only overlong forms.
  if (byte < 0xc2) return utf8Invalid;
  if (byte < 0xe0) return continuation(1);
  if (byte === 0xe0) return continuation(2, 0xa0, 0xbf);
  if (byte === 0xed) return continuation(2, 0x80, 0x9f);
  if (byte < 0xf0) return continuation(2);
  if (byte === 0xf0) return continuation(3, 0x90, 0xbf);
  if (byte < 0xf4) return continuation(3);
  if (byte === 0xf4) return continuation(3, 0x80, 0x8f);
  return utf8Invalid;
}

function step(state: number, byte: number): number {
  if (state === utf8Start) return afterLeadByte(byte);
  if (byte < ((state >> 8) & 0xff) || byte > (state & 0xff)) return utf8Invalid;
  const missing = (state >> 16) - 1;
  return missing === 0 ? utf8Start : continuation(missing);
}

/** Up to this many bytes, a loop is faster than a view and a call into Node. */
const shortText = 48;

/**
 * @param state `utf8Start`, or the result of the call for the previous piece
 * @returns the state after `bytes[start, end)`: `utf8Start` between two characters, `utf8Invalid` after an invalid byte,
 *   another number inside a character
 */
export function checkUtf8(state: number, bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  let current = state;
  if (end - start > shortText) {
    while (current !== utf8Start && at < end) {
      current = step(current, bytes[at++]!);
      if (current === utf8Invalid) return utf8Invalid;
    }
    // Node's check is fast, but takes whole characters only: it gets all but the last one, which may be incomplete.
    const whole = lastBoundary(bytes, at, end);
    if (!isUtf8(bytes.subarray(at, whole))) return utf8Invalid;
    at = whole;
  }
  while (at < end) {
    current = step(current, bytes[at++]!);
    if (current === utf8Invalid) return utf8Invalid;
  }
  return current;
}

/** Where the last character of `bytes[start, end)` begins, or `end` if it is ASCII. Looks back at most four bytes. */
function lastBoundary(bytes: Uint8Array, start: number, end: number): number {
  for (let at = end - 1; at >= start && at >= end - 4; at--) {
    if ((bytes[at]! & 0xc0) !== 0x80) return bytes[at]! < 0x80 ? end : at;
  }
  return end;
}
