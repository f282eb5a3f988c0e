/** The lines of a file in the spool: each is a command, and the next one is begun when it has been answered. */
import { join } from 'node:path';
import { quoted, UsageError } from '../../options/error.ts';
import { whyUnreadable } from '../../options/file.ts';
import { readText } from '../../options/text.ts';
import { maxCommandBody, maxCommandLine, maxSpoolOutput, spoolLineTimeout } from '../../protocol/limits.ts';
import type { Answer, Control } from '../command.ts';
import { submit } from '../commandQueue.ts';
import { type Line, readLine } from '../commands.ts';
import { showSize } from '../show.ts';
import { type Folders, fitName, nextLine, nextStep, readPlainFile } from './spoolFiles.ts';

/** A file that is being run. */
export interface Run {
  /** Of the file, without `.cmd`. */
  readonly name: string;
  readonly control: Control;
  readonly folders: Folders;
  /** Aborted when the server ends: then nobody runs commands any more. */
  readonly ending: AbortSignal;
  /** What the commands said. */
  readonly output: Output;
  /** To be done when the file has its answer. */
  readonly followers: (() => void)[];
  /** Commands that were begun. */
  commands: number;
}

export function newRun(name: string, control: Control, folders: Folders, ending: AbortSignal): Run {
  return { name, control, folders, ending, output: newOutput(), followers: [], commands: 0 };
}

/** Lines without a command that are passed over before others have their turn. */
const skippedAtOnce = 4096;

/** Runs the lines, up to the first one that fails, as a shell does with `set -e`. @throws Error, a sentence */
export async function runLines(run: Run, bytes: Buffer): Promise<void> {
  const text = readText('the file', bytes);
  let number = 0;
  for (const line of linesOf(text)) {
    number++;
    if (/^\s*(#|$)/.test(line)) {
      if (number % skippedAtOnce === 0) await nextStep();
      continue;
    }
    try {
      await obey(run, line);
      await nextLine();
    } catch (error) {
      throw new Error(`line ${number}: ${(error as Error).message}`);
    }
  }
}

function* linesOf(text: string): Generator<string> {
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    yield text.slice(at, end < 0 ? text.length : text[end - 1] === '\r' ? end - 1 : end);
    if (end < 0) return;
    at = end + 1;
  }
}

async function obey(run: Run, line: string): Promise<void> {
  if (run.ending.aborted) throw new Error('the server ended before this was run');
  if (Buffer.byteLength(line) > maxCommandLine) {
    throw new UsageError(`it has more than ${showSize(maxCommandLine)}; give what is long with --binary`);
  }
  run.commands++;
  const read = await readWithBytes(run.folders, line);
  const { name, streams } = read.call.command;
  if (streams) {
    throw new UsageError(
      `${name} goes on until it is interrupted, which nobody can do here; run it in a shell`,
    );
  }
  await answered(run, read);
}

/** The line is read twice, as the file that it names is not read at once. */
async function readWithBytes({ spool }: Folders, line: string): Promise<Line> {
  let named: string | undefined;
  const read = readLine(line, file => {
    named = file;
    return Buffer.alloc(0);
  });
  if (named === undefined) return read;
  if (!fitName.test(named)) {
    throw new UsageError(`--binary names a file in the spool's folder here, not ${quoted(named)}`);
  }
  try {
    const { bytes } = await readPlainFile(join(spool, named), maxCommandBody);
    return readLine(line, () => bytes);
  } catch (error) {
    throw new UsageError(`cannot read ${named}: ${whyUnreadable(error)}`);
  }
}

/** Resolves when the command is done. Nobody waits for it longer than `spoolLineTimeout`. */
function answered(run: Run, { call, isJson }: Line): Promise<void> {
  return new Promise((resolve, reject) => {
    const leavers: (() => void)[] = [];
    const patience = setTimeout(
      () => leave(`no answer within ${spoolLineTimeout / 1000} s; it may still be done`),
      spoolLineTimeout,
    );
    const serverEnds = () => leave('the server ended while this was running; it may have been run in part');
    run.ending.addEventListener('abort', serverEnds);

    const answer: Answer & { isGone: boolean } = {
      via: 'spool',
      from: run.name,
      isJson,
      isGone: false,
      write(text) {
        if (answer.isGone) return;
        if (!addText(run.output, text)) {
          leave(`it says more than the ${showSize(maxSpoolOutput)} that an answer may have`);
        }
      },
      flush() {},
      unsent: () => 0,
      end(error) {
        if (!finish()) return;
        if (error === undefined) resolve();
        else reject(error);
      },
      whenGone: then => void leavers.push(then),
      afterwards: then => void run.followers.push(then),
    };

    /** @returns false where it was finished before */
    function finish(): boolean {
      if (answer.isGone) return false;
      answer.isGone = true;
      clearTimeout(patience);
      run.ending.removeEventListener('abort', serverEnds);
      return true;
    }

    function leave(why: string): void {
      if (!finish()) return;
      for (const then of leavers) then();
      reject(new Error(why));
    }

    submit(run.control, call, answer);
  });
}

/** What the commands of a file in the spool said: many short pieces of text, kept as few long ones of bytes. */

export interface Output {
  readonly pieces: Buffer[];
  /** Behind the pieces. */
  text: string;
  /** Of both, in bytes. */
  size: number;
}

const pieceLength = 64 * 1024;

export function newOutput(): Output {
  return { pieces: [], text: '', size: 0 };
}

/** @returns false where there is no room left for it; then nothing is added */
export function addText(output: Output, text: string): boolean {
  const size = output.size + Buffer.byteLength(text);
  if (size > maxSpoolOutput) return false;
  output.size = size;
  output.text += text;
  if (output.text.length >= pieceLength) closePiece(output);
  return true;
}

/** All of it. @param last a line that has room in any case */
export function allOf(output: Output, last = ''): readonly Buffer[] {
  output.text += last;
  closePiece(output);
  return output.pieces;
}

function closePiece(output: Output): void {
  output.pieces.push(Buffer.from(output.text));
  output.text = '';
}
