/**
 * A JSON object a line, for any bytes: `{"text":"hello"}`, `{"base64":"AAE="}`, `{"close":1000,"reason":""}`; with an
 * `"id"` where the program is shared, in answers a list of them or `"*"`, too. `{"id":7,"open":{…}}` says who came.
 */
import { isUtf8 } from 'node:buffer';
import { isObject } from '../../options/json.ts';
import { decodeBase64 } from '../../protocol/base64.ts';
import { base64Size, longestEscape, textSize, writeContent } from '../../protocol/polling.ts';
import type { Format, Said } from './format.ts';
import { checkRecipients, closeSaid, messageSaid } from './said.ts';

const LF = 0x0a;

/** Room for what is not the message. */
const frameRoom = 64 * 1024;

export function newJsonFormat(isShared: boolean): Format {
  const record = (id: number, fields: object) =>
    Buffer.from(`${JSON.stringify(isShared ? { id, ...fields } : fields)}\n`);

  return {
    delimiter: LF,
    headerSize: 0,
    // `é` is two bytes, and `\u00e9` six.
    longest: size => 3 * size + frameRoom,

    message({ isText, bytes, start, end }, id) {
      const head = `{${isShared ? `"id":${id},` : ''}"${isText ? 'text' : 'base64'}":"`;
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      const size = isText ? textSize(buffer, start, end) : base64Size(end - start);
      // From bytes to bytes: a string of 16 MiB of control characters takes 200 MB on its way, and most of a second.
      const line = Buffer.allocUnsafe(head.length + size + longestEscape);
      let at = line.write(head, 'latin1');
      at = writeContent({ isText, bytes: buffer, from: start, to: end }, line, at, line.length);
      at += line.write('"}\n', at, 'latin1');
      return line.subarray(0, at);
    },

    opened: (id, variables) => record(id, { open: variables }),
    closed: (id, code, reason) => record(id, { close: code, reason }),

    read(bytes, start, end) {
      const line = lineText(bytes.subarray(start, end));
      if (isBlank(line)) return undefined;
      const { id, text, base64, close, reason, ...others } = parseObject(line);
      const to = isShared ? readIds(id) : [];
      const [unknown] = Object.keys(others);
      if (unknown !== undefined)
        throw new Error(`a member ${JSON.stringify(unknown.slice(0, 40))}, which there is not`);
      if ([text, base64, close].filter(member => member !== undefined).length !== 1) {
        throw new Error('an object without one of "text", "base64" and "close", or with several');
      }
      if (typeof text === 'string') return wholeMessage(to, true, Buffer.from(text));
      if (typeof base64 === 'string') return wholeMessage(to, false, readBase64(base64));
      if (typeof close === 'number' && (reason === undefined || typeof reason === 'string')) {
        return closeSaid(to, close, reason);
      }
      throw new Error('a member of the wrong type');
    },
  };
}

function wholeMessage(to: Said['to'], isText: boolean, bytes: Buffer): Said {
  return messageSaid(to, isText, bytes, 0, bytes.length);
}

/** A line without a byte order mark, which editors put at the start of scripts, and PHP prints (RFC 8259 §8.1 allows to ignore it). */
function lineText(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new Error('a line that is not UTF-8');
  const text = bytes.toString();
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Whether a line has nothing but JSON's own whitespace (RFC 8259 §2). */
function isBlank(line: string): boolean {
  return !/[^ \t\r]/.test(line);
}

function parseObject(line: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Error('a line that is not JSON');
  }
  if (!isObject(value)) throw new Error('a line that is not a JSON object');
  return value;
}

function readIds(id: unknown): Said['to'] {
  if (id === '*') return 'all';
  return checkRecipients(Array.isArray(id) ? id : [id]);
}

function readBase64(text: string): Buffer {
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw new Error('"base64" that is not base64');
  return bytes;
}
