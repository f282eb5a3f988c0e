/** Detects HTTP by the first bytes of a connection. */
import { maxFirstLine } from '../limits.ts';
import { beginsTelnet } from '../telnet.ts';

/** `GET ` as a number. */
const getAndSpace = 0x47455420;

/** The length of an empty line, the longest method, and a space. */
const longestMethodPrefix = 2 + 'OPTIONS '.length;

/**
 * Whether the first bytes are HTTP: a method and a space, or a first line that ends in a version. HTTP also claims bytes that
 * are not text, and answers them with an error.
 */
export function looksLikeHttp(bytes: Buffer, start: number, end: number): boolean | undefined {
  // Fast path: nearly all requests begin with GET, and nearly all others with another method.
  if (end - start >= 4 && bytes.readUInt32BE(start) === getAndSpace) return true;
  const beginning = bytes.toString('latin1', start, Math.min(end, start + longestMethodPrefix));
  if (/^(?:\r\n)?(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) /.test(beginning)) return true;
  if (beginsTelnet(bytes, start, end) === true) return false;
  const head = bytes.toString('latin1', start, Math.min(end, start + maxFirstLine));
  // RFC 9112 §2.2 forbids a bare CR in a head; telnet's CR NUL ends a line.
  if (/^[^\n]*\r\0/.test(head)) return false;
  if (/^[\0-\x09\x0b\x0c\x0e-\x1f\x7f]/.test(head)) return true;
  const line = /^(?:\r\n)?([^\n]*)\n/.exec(head)?.[1];
  if (line === undefined) return head.length === maxFirstLine ? true : undefined;
  return / HTTP\/\d\S*\r?$/i.test(line);
}
