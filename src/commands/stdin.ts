/** Commands on stdin (`--stdin`): each line is one. */
import { readFileSync, statSync } from 'node:fs';
import { log } from '../log/log.ts';
import { printableLine } from '../log/printable.ts';
import { UsageError } from '../options/error.ts';
import { readText } from '../options/text.ts';
import { maxCommandBody } from '../protocol/limits.ts';
import type { Control, Reply } from './command.ts';
import { submit } from './commandQueue.ts';
import { parseCommandLine, unreadable } from './commands.ts';

const LF = 0x0a;
const CR = 0x0d;

/** Runs one line after the other until stdin ends or cannot be read, which does not end the server. */
export async function runStdinCommands(control: Control): Promise<void> {
  try {
    for await (const line of splitLines(process.stdin, maxCommandBody)) await runLine(control, line);
  } catch (error) {
    log('error', 'stdin cannot be read', { reason: (error as Error).message });
  }
}

/**
 * The lines of a stream, without their newlines.
 * @param maxLength in bytes; a longer line is discarded and yields `undefined`
 */
export async function* splitLines(
  stream: AsyncIterable<Buffer>,
  maxLength: number,
): AsyncGenerator<Buffer | undefined> {
  let pieces: Buffer[] = [];
  let length = 0;
  const add = (piece: Buffer) => {
    length += piece.length;
    if (length <= maxLength) pieces.push(piece);
    else pieces = [];
  };
  const finishLine = () => {
    const line = length > maxLength ? undefined : Buffer.concat(pieces);
    pieces = [];
    length = 0;
    return line?.at(-1) === CR ? line.subarray(0, -1) : line;
  };
  for await (const chunk of stream) {
    let from = 0;
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, from)) {
      add(chunk.subarray(from, at));
      from = at + 1;
      yield finishLine();
    }
    if (from < chunk.length) add(chunk.subarray(from));
  }
  if (length > 0) yield finishLine();
}

/** Only a plain file of limited size: reading it blocks the server. @throws UsageError */
function readBytes(path: string): Buffer {
  try {
    const stats = statSync(path);
    if (!stats.isFile()) throw new Error('it is not a regular file');
    if (stats.size > maxCommandBody) throw new Error(`it is longer than ${maxCommandBody} bytes`);
    return readFileSync(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Resolves when the command is done, or begins to stream: a stream does not delay the next line. */
function runLine(control: Control, bytes: Buffer | undefined): Promise<void> {
  return new Promise(resolve => {
    let onDone = () => {};
    const reply: Reply = {
      via: 'stdin',
      isJson: false,
      isClosed: false,
      write: text => void process.stdout.write(text),
      flush: resolve,
      unsent: () => process.stdout.writableLength,
      end(error) {
        if (error !== undefined) process.stderr.write(`pollywog: ${printableLine(error.message)}\n`);
        onDone();
        resolve();
      },
      onAbort: () => {},
      onDone(listener) {
        onDone = listener;
      },
    };
    try {
      if (bytes === undefined) throw new UsageError(`the line is longer than ${maxCommandBody} bytes`);
      const line = readText('the line on stdin', bytes);
      if (line.trim() === '') return resolve();
      const { call, isJson } = parseCommandLine(line, readBytes);
      submit(control, call, { ...reply, isJson });
    } catch (error) {
      reply.end(error as Error);
    }
  });
}
