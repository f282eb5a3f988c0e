/** Decodes text from outside: valid UTF-8, or an error. Nothing becomes U+FFFD. */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { quoted, UsageError } from './error.ts';

/**
 * Decodes `bytes` without the byte order mark that some editors and shells write first.
 * @param what the subject of the error message
 * @param remedy the advice for invalid UTF-8
 * @throws UsageError
 */
export function readText(what: string, bytes: Buffer, remedy?: string): string {
  const text = decodeText(what, bytes, remedy);
  // RFC 3629 §6: a byte order mark carries no information in UTF-8.
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Like `readText`, but keeps a byte order mark. */
export function decodeText(
  what: string,
  bytes: Buffer,
  remedy = 'convert it, for instance with iconv',
): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  const [first, second] = bytes;
  const isUtf16 = (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
  if (isUtf16) throw new UsageError(`${what} is UTF-16; save it as UTF-8`);
  const at = firstInvalid(bytes);
  const byte = bytes[at]!.toString(16).padStart(2, '0');
  throw new UsageError(`${what} is not UTF-8: byte 0x${byte} at offset ${at}; ${remedy}`);
}

/** @returns the bytes after a byte order mark, if they begin with one */
export function skipByteOrderMark(bytes: Buffer): Buffer {
  return bytes.subarray(0, 3).equals(byteOrderMark) ? bytes.subarray(3) : bytes;
}

const byteOrderMark = Buffer.from('\ufeff');

/** A copy. V8 keeps a long text, such as the head of a request, in memory for as long as a part of it is used. */
export const copyText = (text: string) => Buffer.from(text).toString();

/** JSON can contain an unpaired surrogate, which UTF-8 cannot encode. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** Node decodes invalid bytes to U+FFFD, so the first U+FFFD that the bytes do not encode is the first error. */
function firstInvalid(bytes: Buffer): number {
  const text = bytes.toString('utf8');
  let offset = 0;
  for (let from = 0; ; ) {
    const at = text.indexOf('\ufffd', from);
    offset += Buffer.byteLength(text.slice(from, at));
    if (bytes[offset] !== 0xef || bytes[offset + 1] !== 0xbf || bytes[offset + 2] !== 0xbd) return offset;
    offset += 3;
    from = at + 1;
  }
}

/**
 * Refuses a command line or environment that is not UTF-8. Node has already replaced invalid bytes, so the original ones
 * come from /proc; systems without /proc are not checked.
 * @param argv without node and script
 * @param env only variables of this program are checked
 * @throws UsageError
 */
export function checkProcessText(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): void {
  const word = argv.find(one => one.includes('\ufffd'));
  if (word !== undefined && hasInvalid('/proc/self/cmdline')) {
    throw new UsageError(
      `${quoted(word)} on the command line is not UTF-8; convert it, or send bytes with --binary`,
    );
  }
  const variables = Object.entries(env).filter(([name]) => name.startsWith('POLLYWOG_'));
  const [name] = variables.find(([, value]) => value?.includes('\ufffd')) ?? [];
  if (name !== undefined && hasInvalid('/proc/self/environ', `${name}=`)) {
    throw new UsageError(`the environment variable ${name} is not UTF-8; convert it`);
  }
}

/** Whether a NUL-terminated string in `file` that starts with `start` is not UTF-8. */
function hasInvalid(file: string, start = ''): boolean {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch {
    return false;
  }
  for (let from = 0; from < bytes.length; ) {
    const nul = bytes.indexOf(0, from);
    const end = nul < 0 ? bytes.length : nul;
    const piece = bytes.subarray(from, end);
    if (!isUtf8(piece) && piece.toString('latin1').startsWith(start)) return true;
    from = end + 1;
  }
  return false;
}
