/** Interactive input: a line editor with history, and output above the line being typed. */
import { Buffer } from 'node:buffer';
import { clearScreenDown, createInterface, cursorTo, moveCursor } from 'node:readline';
import type { Batch } from './input.ts';

export interface Terminal {
  /** The lines typed; Ctrl-D on an empty line ends them. */
  readonly lines: AsyncIterable<Batch>;
  /** Shows the prompt. */
  prompt(): void;
  /** Calls `write`, which prints whole lines, above the line being typed. */
  above(write: () => void): void;
  /** Removes the prompt, and restores the terminal's mode. */
  close(): void;
  onInterrupt: () => void;
}

const historySize = 1000;

export function openTerminal(): Terminal {
  const { stdin, stdout, stderr } = process;
  // If stdout is redirected to a file, the prompt goes to stderr.
  const screen = stdout.isTTY ? stdout : stderr;
  const editor = createInterface({
    ...{ input: stdin, output: screen, terminal: true, prompt: '> ' },
    ...{ historySize, removeHistoryDuplicates: true },
  });
  // Created now, so that lines typed before the first request are kept.
  const typed = editor[Symbol.asyncIterator]();
  let isPrompting = false;
  let isOver = false;
  editor.once('close', () => {
    isOver = true;
    if (isPrompting) screen.write('\n');
  });
  const hidePrompt = () => {
    moveCursor(screen, 0, -editor.getCursorPos().rows);
    cursorTo(screen, 0);
    clearScreenDown(screen);
    // The editor moves up by the rows of its last drawing; its line now begins at the cursor.
    (editor as { prevRows?: number }).prevRows = 0;
  };
  const terminal: Terminal = {
    lines: batches(typed),
    prompt() {
      isPrompting = true;
      if (!isOver) editor.prompt(true);
    },
    above(write) {
      if (!isPrompting || isOver) return write();
      hidePrompt();
      write();
      editor.prompt(true);
    },
    close() {
      if (isOver) return;
      if (isPrompting) hidePrompt();
      isPrompting = false;
      editor.close();
    },
    onInterrupt() {},
  };
  editor.on('SIGINT', () => terminal.onInterrupt());
  return terminal;
}

async function* batches(lines: AsyncIterable<string>): AsyncGenerator<Batch> {
  for await (const line of lines) yield [Buffer.from(line)];
}
