/**
 * Bytes as people paste them: hexadecimal digits in any notation, dumps of xxd, hexdump, od, tcpdump and Wireshark, and strings or
 * arrays of programming languages.
 */
import { Buffer } from 'node:buffer';

/** @returns undefined if the text is none of these @throws Error, a sentence, if it is ambiguous or has a digit too few */
export function readPasted(pasted: string): Buffer | undefined {
  const text = pasted.replace(/^\ufeff/, '').trim();
  return readDump(text) ?? readEscapes(text) ?? readDecimals(text) ?? readDigits(text);
}

/** A line of a dump: the offset, the bytes, and perhaps their text after two spaces, a bar or a tab. */
const dumpLine =
  /^\s*(?:0x)?([\da-f]{4,16}):?(?:[ \t]{1,4})((?:[\da-f]{2,8}[ \t]{1,2})*[\da-f]{2,8})(?:(?: {2,}|[ \t]*\||\t).*)?$/i;
const lastOffset = /^\s*[\da-f]{6,16}$/i;

/** The offsets identify a dump: each is the number of bytes before its line. */
function readDump(text: string): Buffer | undefined {
  const lines = text.split(/\r?\n/).filter(line => line.trim() !== '');
  if (lines.some(line => line.trim() === '*') && dumpLine.test(lines[0]!))
    throw new Error('the dump leaves out repeated lines (*); make one with xxd or hexdump -v -C');
  // hexdump without -C and od without -tx1 print words in the byte order of the machine.
  if (/^[0-7]{7} +[\da-f]{4}( +[\da-f]{4})*\s*$|^[0-7]{7} [0-7]{6}( [0-7]{6})*$/.test(lines[0]!))
    throw new Error('the dump has words instead of bytes; make one with xxd or hexdump -C');
  if (lines.length > 1 && lastOffset.test(lines.at(-1)!)) lines.pop();
  const pieces: Buffer[] = [];
  let size = 0;
  let radix = 16;
  for (const [index, line] of lines.entries()) {
    const [, offset = '', shown = ''] = dumpLine.exec(line) ?? [];
    // A line has at most 16 bytes. The text after them may look like digits.
    const digits = shown.replace(/\s/g, '').slice(0, 32);
    if (digits.length % 2 === 1 || digits === '') return undefined;
    if (index === 1 && parseInt(offset, 16) !== size && parseInt(offset, 8) === size) radix = 8;
    if (parseInt(offset, radix) !== size) return undefined;
    // One line of plain digits may begin with zeros, too.
    if (index === 0 && lines.length === 1 && !/^\s*(?:0x0+|0+:|0{6,8} |0{4} {2,3})/.test(line))
      return undefined;
    const piece = Buffer.from(digits, 'hex');
    pieces.push(piece);
    size += piece.length;
  }
  return pieces.length === 0 ? undefined : Buffer.concat(pieces);
}

/** The packets in the output of tcpdump -X (from the IP header) or -XX (with the link's). @returns undefined if the text has no packet */
export function readPacketDump(text: string): Buffer[] | undefined {
  const packets: Buffer[][] = [];
  for (const line of text.split(/\r?\n/)) {
    const [, offset = '', shown = ''] =
      /^\s+0x([\da-f]{4,8}):\s+((?:[\da-f]{2,4} )*[\da-f]{2,4})/.exec(line) ?? [];
    if (shown === '') continue;
    if (parseInt(offset, 16) === 0) packets.push([]);
    packets.at(-1)?.push(Buffer.from(shown.replace(/ /g, '').slice(0, 32), 'hex'));
  }
  return packets.length === 0 ? undefined : packets.map(pieces => Buffer.concat(pieces));
}

const escaped = /\\x([\da-f]{2})|\\u00([\da-f]{2})|\\([0-7]{3})|\\(.?)/gi;
const named: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, 0: 0, a: 7, b: 8, f: 12, v: 11, e: 27 };

/** A string of C, Python or JavaScript: `b'\x81\x05Hello'`. */
function readEscapes(text: string): Buffer | undefined {
  if (!/\\x[\da-f]{2}|\\u00[\da-f]{2}/i.test(text)) return undefined;
  const [, , quoted] = /^[bBu]?(["']?)(.*)\1;?$/s.exec(text) ?? [];
  const string = quoted ?? text;
  const bytes = Buffer.allocUnsafe(Buffer.byteLength(string));
  let size = 0;
  let end = 0;
  for (const { index, 0: all, 1: hex, 2: unicode, 3: octal, 4: letter } of string.matchAll(escaped)) {
    size += bytes.write(string.slice(end, index), size);
    end = index + all.length;
    if (octal !== undefined) bytes[size++] = parseInt(octal, 8);
    else if (letter === undefined) bytes[size++] = parseInt(hex ?? unicode!, 16);
    else if (letter !== '') bytes[size++] = named[letter] ?? letter.charCodeAt(0);
  }
  size += bytes.write(string.slice(end), size);
  return bytes.subarray(0, size);
}

/** An array of decimal numbers: `[129, 5, 72]`, `Uint8Array(3) [129, 5, 72]`, `{"type":"Buffer","data":[129,5,72]}`. */
function readDecimals(text: string): Buffer | undefined {
  const [, list] = /^(?:\w+\(\d*\) ?|\{"type":"Buffer","data":)?\[([\d,\s]+)\]\}?$/.exec(text) ?? [];
  if (list === undefined) return undefined;
  const numbers = list.split(',').map(one => one.trim());
  if (!numbers.every(one => /^\d{1,3}$/.test(one) && Number(one) < 256)) return undefined;
  return Buffer.from(numbers.map(Number));
}

/** `8105`, `81 05`, `81:05`, `0x81, 0x5`, `{0x81, 0x05}`, `<Buffer 81 05>`. */
function readDigits(text: string): Buffer | undefined {
  const inner = text.replace(/^<Buffer (.*)>$/s, '$1').replace(/^[[{(](.*)[\])}];?$/s, '$1');
  if (/\.\.\. \d+ more bytes?$/.test(inner))
    throw new Error('the dump of the Buffer is cut; print all of it with buffer.toString("hex")');
  const tokens = inner.split(/[\s,:;_-]+/).filter(token => token !== '');
  const digits = tokens.map(token => token.replace(/^0x/i, ''));
  if (tokens.length === 0 || !digits.every(one => /^[\da-f]+$/i.test(one))) return undefined;
  // A number in 0x notation needs no leading zero.
  const padded = digits.map((one, i) => (one.length === 1 && /^0x/i.test(tokens[i]!) ? `0${one}` : one));
  // 129 5 72: decimal numbers would be misread as hexadecimal digits.
  if (tokens.length > 1 && digits.every(one => /^\d{1,3}$/.test(one)) && digits.some(one => one.length === 3))
    throw new Error(
      'these numbers look decimal; write bytes as two hexadecimal digits, or numbers as [129, 5]',
    );
  const all = padded.join('');
  if (all.length % 2 === 1)
    throw new Error(`${all.length} hexadecimal digits do not make whole bytes; each byte has two`);
  return Buffer.from(all, 'hex');
}

/** Names the protocol or format of the bytes in a sentence; undefined if they may come from a WebSocket. */
export function nameOfOther(bytes: Buffer): string | undefined {
  const first = bytes.toString('hex', 0, 3);
  if (/^1[4-7]030[0-4]/.test(first))
    return 'these bytes are TLS: they are encrypted, so explain cannot read them; record the session in the server (pollywog record) or the client (--record) instead';
  if (first.startsWith('1f8b')) return 'these bytes are a gzip file; unpack it first';
  if (bytes.toString('latin1', 0, 14) === 'PRI * HTTP/2.0')
    return 'these bytes are HTTP/2, which pollywog does not speak; WebSocket over HTTP/2 is RFC 8441';
  if (/^(?:fffe|feff)/.test(first)) return 'this text is UTF-16; convert it to ASCII or UTF-8 first';
  return undefined;
}
