/**
 * UTF-8, checked as it arrives (RFC 3629; RFC 6455 §8.1): a bad byte is found when it is there, not when its message ends.
 *
 * Between two pieces of a text, one small integer says what is outstanding, so that a character may be cut anywhere.
 */
import { isUtf8 } from 'node:buffer';

/** No character is cut. */
export const utf8Start = 0;
/** What was checked cannot be the beginning of any UTF-8 text. */
export const utf8Invalid = -1;

/**
 * An unfinished character is kept as `count << 16 | lowest << 8 | highest`: how many continuation bytes are missing, and
 * the range the next one must lie in. The range is narrower than 0x80 to 0xBF after E0 and F0 (no overlong forms), ED (no
 * surrogates) and F4 (nothing over U+10FFFF), RFC 3629 §4.
 */
const continuation = (count: number, lowest = 0x80, highest = 0xbf) =>
  (count << 16) | (lowest << 8) | highest;

function afterLeadByte(byte: number): number {
  if (byte < 0x80) return utf8Start;
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

/** Below this many bytes a loop is faster than a view and a call into Node. */
const shortText = 48;

/**
 * @param state `utf8Start`, or what the call for the piece before returned
 * @returns the state after `bytes[start, end)`: `utf8Start` where a character ended, `utf8Invalid` at the first bad byte,
 *   another number inside a character
 */
export function checkUtf8(state: number, bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  let now = state;
  if (end - start > shortText) {
    while (now !== utf8Start && at < end) {
      now = step(now, bytes[at++]!);
      if (now === utf8Invalid) return utf8Invalid;
    }
    // Node checks whole texts only, and fast: give it all but a character that may be cut at the end.
    const whole = lastBoundary(bytes, at, end);
    if (!isUtf8(bytes.subarray(at, whole))) return utf8Invalid;
    at = whole;
  }
  while (at < end) {
    now = step(now, bytes[at++]!);
    if (now === utf8Invalid) return utf8Invalid;
  }
  return now;
}

/** Where the last character of `bytes[start, end)` begins, looking back no further than a character is long. */
function lastBoundary(bytes: Uint8Array, start: number, end: number): number {
  for (let at = end - 1; at >= start && at >= end - 4; at--) {
    if ((bytes[at]! & 0xc0) !== 0x80) return bytes[at]! < 0x80 ? end : at;
  }
  return end;
}
