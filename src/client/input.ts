/** stdin as messages. */
import { Buffer, isUtf8 } from 'node:buffer';
import { quoted } from '../options/error.ts';
import type { ClientConfiguration } from './configuration.ts';

const LF = 0x0a;
const NUL = 0x00;

/** Messages, as many as came at once; with `--binary`, pieces of the only one. */
export type Batch = readonly Buffer[];

/** What is to be sent. It outlives a connection: what was not taken is there for the next. */
export interface MessageSource {
  /** The batch that is next, the same one until it is taken. @throws Error, a sentence, for unfit input */
  next(): Promise<IteratorResult<Batch, unknown>>;
  take(): void;
}

export function newMessageSource(batches: AsyncIterable<Batch>): MessageSource {
  const iterator = batches[Symbol.asyncIterator]();
  let pending: Promise<IteratorResult<Batch, unknown>> | undefined;
  return {
    next() {
      pending ??= iterator.next();
      return pending;
    },
    take() {
      pending = undefined;
    },
  };
}

/** The messages in `stream`, by the configuration's framing. */
export function readMessages(
  stream: AsyncIterable<Buffer>,
  { framing, maxMessage, chat }: Pick<ClientConfiguration, 'framing' | 'maxMessage' | 'chat'>,
): AsyncIterable<Batch> {
  if (framing === 'binary') return readChunks(stream);
  const parts = splitStream(stream, framing === 'null' ? NUL : LF, maxMessage);
  return readTexts(parts, framing === 'json' ? parseString : chat === undefined ? checkText : checkLine);
}

async function* readChunks(stream: AsyncIterable<Buffer>): AsyncGenerator<Batch> {
  for await (const chunk of stream) yield [chunk];
}

/** What stands between separators, and behind the last one if that is not empty. */
async function* splitStream(
  stream: AsyncIterable<Buffer>,
  separator: number,
  longest: number,
): AsyncGenerator<Batch> {
  let begun: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    const parts: Buffer[] = [];
    let from = 0;
    for (let at = chunk.indexOf(separator); at !== -1; at = chunk.indexOf(separator, from)) {
      const piece = chunk.subarray(from, at);
      parts.push(begun.length === 0 ? piece : Buffer.concat([...begun, piece]));
      begun = [];
      length = 0;
      from = at + 1;
    }
    if (from < chunk.length) begun.push(chunk.subarray(from));
    length += chunk.length - from;
    if (parts.length > 0) yield parts;
    if (length > longest) throw new Error(`a line of stdin is longer than ${longest} bytes (--max-message)`);
  }
  if (length > 0) yield [Buffer.concat(begun)];
}

/** @param read makes the message of a part, or says in a string what it is not */
async function* readTexts(
  batches: AsyncIterable<Batch>,
  read: (part: Buffer) => Buffer | string,
): AsyncGenerator<Batch> {
  let line = 0;
  for await (const batch of batches) {
    const texts: Buffer[] = [];
    for (const part of batch) {
      line++;
      const text = read(part);
      if (typeof text === 'string') {
        // What stood before it is fit.
        yield texts;
        throw new Error(`line ${line} of stdin is not ${text}`);
      }
      texts.push(text);
    }
    yield texts;
  }
}

// RFC 6455 §5.6: a text message is UTF-8.
function checkText(part: Buffer): Buffer | string {
  return isUtf8(part) ? part : 'UTF-8, as a text message has to be; send it with --binary';
}

/** Editors of other systems end lines in CR LF; in a chat nobody wants to see that. */
function checkLine(part: Buffer): Buffer | string {
  return checkText(part.at(-1) === 0x0d ? part.subarray(0, -1) : part);
}

function parseString(part: Buffer): Buffer | string {
  const instead = `a JSON string: ${quoted(part.toString('utf8'))}`;
  if (!isUtf8(part)) return instead;
  try {
    const value: unknown = JSON.parse(part.toString('utf8'));
    // Half a surrogate pair has no form in UTF-8.
    return typeof value === 'string' && !/\p{Surrogate}/u.test(value) ? Buffer.from(value) : instead;
  } catch {
    return instead;
  }
}
