/** Splits stdin into messages. */
import { Buffer, isUtf8 } from 'node:buffer';
import { quoted } from '../options/error.ts';
import type { ClientConfiguration } from './configuration.ts';

const LF = 0x0a;
const NUL = 0x00;

/** Messages that arrived together; with `--binary`, pieces of the only message. */
export type Batch = readonly Buffer[];

/** The messages to send. It outlives a connection: a batch that was not taken is sent on the next one. */
export interface MessageSource {
  /** The next batch; the same one until it is taken. @throws Error whose message is a sentence, for invalid input */
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

/** Splits a stream into messages by the configured framing. */
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

/** The parts between separators; the last one may lack its separator, unless it is empty. */
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

/** @param read returns the message of a part, or a string with what the part is not */
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
        // The lines before it are valid.
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
  return isUtf8(part) ? part : 'UTF-8, which a text message must be; use --binary';
}

/** In the chat, a CR before the line end is not part of the message. */
function checkLine(part: Buffer): Buffer | string {
  return checkText(part.at(-1) === 0x0d ? part.subarray(0, -1) : part);
}

function parseString(part: Buffer): Buffer | string {
  const instead = `a JSON string: ${quoted(part.toString('utf8'))}`;
  if (!isUtf8(part)) return instead;
  try {
    const value: unknown = JSON.parse(part.toString('utf8'));
    // A lone surrogate cannot be encoded in UTF-8.
    return typeof value === 'string' && !/\p{Surrogate}/u.test(value) ? Buffer.from(value) : instead;
  } catch {
    return instead;
  }
}
