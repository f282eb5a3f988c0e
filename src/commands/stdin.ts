/** The door of whoever sits in front of the server: a line of stdin is a command. */
import { readFileSync, statSync } from 'node:fs';
import { printableLine } from '../log/printable.ts';
import { UsageError } from '../options/error.ts';
import { readText } from '../options/text.ts';
import { maxCommandBody } from '../protocol/limits.ts';
import type { Answer, Control } from './command.ts';
import { submit } from './commandQueue.ts';
import { readLine, unreadable } from './commands.ts';

const LF = 0x0a;
const CR = 0x0d;

/** Takes commands from stdin, one after the other, until it ends; the server does not end with it. */
export async function takeStdin(control: Control): Promise<void> {
  for await (const line of linesOf(process.stdin, maxCommandBody)) await obey(control, line);
}

/**
 * The lines of a stream, without their ends.
 * @param longest bytes of one; of a longer one, `undefined` is given, and its bytes are not kept
 */
export async function* linesOf(
  stream: AsyncIterable<Buffer>,
  longest: number,
): AsyncGenerator<Buffer | undefined> {
  let pieces: Buffer[] = [];
  let length = 0;
  const take = (piece: Buffer) => {
    length += piece.length;
    if (length <= longest) pieces.push(piece);
    else pieces = [];
  };
  const end = () => {
    const line = length > longest ? undefined : Buffer.concat(pieces);
    pieces = [];
    length = 0;
    return line?.at(-1) === CR ? line.subarray(0, -1) : line;
  };
  for await (const chunk of stream) {
    let from = 0;
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, from)) {
      take(chunk.subarray(from, at));
      from = at + 1;
      yield end();
    }
    if (from < chunk.length) take(chunk.subarray(from));
  }
  if (length > 0) yield end();
}

/** A file alone, and not a large one: everyone waits while it is read. @throws UsageError */
function readBytes(path: string): Buffer {
  try {
    const found = statSync(path);
    if (!found.isFile()) throw new Error('it is not a regular file');
    if (found.size > maxCommandBody) throw new Error(`it is longer than ${maxCommandBody} bytes`);
    return readFileSync(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Resolves when it is done; what goes on without end does not keep the next line waiting. */
function obey(control: Control, bytes: Buffer | undefined): Promise<void> {
  return new Promise(resolve => {
    let then = () => {};
    const answer: Answer = {
      via: 'stdin',
      isJson: false,
      isGone: false,
      write: text => void process.stdout.write(text),
      flush: resolve,
      unsent: () => process.stdout.writableLength,
      end(error) {
        if (error !== undefined) process.stderr.write(`pollywog: ${printableLine(error.message)}\n`);
        then();
        resolve();
      },
      whenGone: () => {},
      afterwards(act) {
        then = act;
      },
    };
    try {
      if (bytes === undefined) throw new UsageError(`a line of stdin is longer than ${maxCommandBody} bytes`);
      const line = readText('this line of stdin', bytes);
      if (line.trim() === '') return resolve();
      const { call, isJson } = readLine(line, readBytes);
      submit(control, call, { ...answer, isJson });
    } catch (error) {
      answer.end(error as Error);
    }
  });
}
