/** Runs a command file: each line is a command, and begins when the line before it has been answered. */
import { join } from 'node:path';
import { quoted, UsageError } from '../../options/error.ts';
import { whyUnreadable } from '../../options/file.ts';
import { readText } from '../../options/text.ts';
import { maxCommandBody, maxCommandLine, maxSpoolOutput, spoolLineTimeout } from '../../protocol/limits.ts';
import type { Control, Reply } from '../command.ts';
import { submit } from '../commandQueue.ts';
import { type ParsedLine, parseCommandLine } from '../commands.ts';
import { formatSize } from '../show.ts';
import { type Folders, nextLine, nextStep, readRegularFile, validName } from './spoolFiles.ts';

/** A command file that is being run. */
export interface SpoolRun {
  /** The file's name, without `.cmd`. */
  readonly name: string;
  readonly control: Control;
  readonly folders: Folders;
  /** Aborted when the server ends: commands are not run any more. */
  readonly ending: AbortSignal;
  readonly output: SpoolOutput;
  /** Called when the answer has been written. */
  readonly onDone: (() => void)[];
  /** Commands that were started. */
  commands: number;
}

export function newSpoolRun(name: string, control: Control, folders: Folders, ending: AbortSignal): SpoolRun {
  return { name, control, folders, ending, output: newSpoolOutput(), onDone: [], commands: 0 };
}

/** Lines without a command that are skipped in one step. */
const skippedAtOnce = 4096;

/** Runs the lines, and stops at the first that fails, like a shell with `set -e`. @throws Error, a sentence */
export async function runLines(run: SpoolRun, bytes: Buffer): Promise<void> {
  const text = readText('the file', bytes);
  let number = 0;
  for (const line of linesOf(text)) {
    number++;
    if (/^\s*(#|$)/.test(line)) {
      if (number % skippedAtOnce === 0) await nextStep();
      continue;
    }
    try {
      await runLine(run, line);
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

async function runLine(run: SpoolRun, line: string): Promise<void> {
  if (run.ending.aborted) throw new Error('the server ended before this command ran');
  if (Buffer.byteLength(line) > maxCommandLine) {
    throw new UsageError(
      `the line is longer than ${formatSize(maxCommandLine)}; pass long data with --binary`,
    );
  }
  run.commands++;
  const parsed = await parseWithBytes(run.folders, line);
  const { name, streams } = parsed.call.command;
  if (streams) throw new UsageError(`${name} runs until it is interrupted; run it in a shell instead`);
  await runToEnd(run, parsed);
}

/** Parses the line twice: the file that it names is read in between, without blocking. */
async function parseWithBytes({ spool }: Folders, line: string): Promise<ParsedLine> {
  let file: string | undefined;
  const parsed = parseCommandLine(line, named => {
    file = named;
    return Buffer.alloc(0);
  });
  if (file === undefined) return parsed;
  if (!validName.test(file)) {
    throw new UsageError(`in the spool, --binary names a file in the spool's folder, not ${quoted(file)}`);
  }
  try {
    const { bytes } = await readRegularFile(join(spool, file), maxCommandBody);
    return parseCommandLine(line, () => bytes);
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${whyUnreadable(error)}`);
  }
}

/** Resolves when the command is done; rejects after `spoolLineTimeout`. */
function runToEnd(run: SpoolRun, { call, isJson }: ParsedLine): Promise<void> {
  return new Promise((resolve, reject) => {
    const abortListeners: (() => void)[] = [];
    const timer = setTimeout(
      () => abort(`no answer within ${spoolLineTimeout / 1000} s; the command may still finish`),
      spoolLineTimeout,
    );
    const onEnding = () =>
      abort('the server ended during this command, which may have been carried out in part');
    run.ending.addEventListener('abort', onEnding);

    const reply: Reply & { isClosed: boolean } = {
      via: 'spool',
      from: run.name,
      isJson,
      isClosed: false,
      write(text) {
        if (reply.isClosed) return;
        if (!addText(run.output, text)) {
          abort(`the output is longer than ${formatSize(maxSpoolOutput)}, the limit for one file`);
        }
      },
      flush() {},
      unsent: () => 0,
      end(error) {
        if (reply.isClosed) return;
        close();
        if (error === undefined) resolve();
        else reject(error);
      },
      onAbort: listener => void abortListeners.push(listener),
      onDone: listener => void run.onDone.push(listener),
    };

    function close(): void {
      reply.isClosed = true;
      clearTimeout(timer);
      run.ending.removeEventListener('abort', onEnding);
    }

    function abort(reason: string): void {
      if (reply.isClosed) return;
      close();
      for (const listener of abortListeners) listener();
      reject(new Error(reason));
    }

    submit(run.control, call, reply);
  });
}

/** The output of a file's commands: many short texts, kept as a few long buffers. */
export interface SpoolOutput {
  readonly pieces: Buffer[];
  /** What follows the pieces. */
  text: string;
  /** Bytes of the pieces and the text. */
  size: number;
}

const pieceSize = 64 * 1024;

export function newSpoolOutput(): SpoolOutput {
  return { pieces: [], text: '', size: 0 };
}

/** @returns false, and adds nothing, if the text does not fit */
export function addText(output: SpoolOutput, text: string): boolean {
  const size = output.size + Buffer.byteLength(text);
  if (size > maxSpoolOutput) return false;
  output.size = size;
  output.text += text;
  if (output.text.length >= pieceSize) closePiece(output);
  return true;
}

/** @param last a final line, which is added even if the output is full */
export function allOf(output: SpoolOutput, last = ''): readonly Buffer[] {
  output.text += last;
  closePiece(output);
  return output.pieces;
}

function closePiece(output: SpoolOutput): void {
  output.pieces.push(Buffer.from(output.text));
  output.text = '';
}
