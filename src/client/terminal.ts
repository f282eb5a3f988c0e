/** Someone at a terminal: a line being typed, with editing and history, and what is heard above it. */
import { Buffer } from 'node:buffer';
import { clearScreenDown, createInterface, cursorTo, moveCursor } from 'node:readline';
import type { Batch } from './input.ts';

export interface Terminal {
  /** The lines that were typed; Ctrl-D on an empty one is the end. */
  readonly lines: AsyncIterable<Batch>;
  /** Shows the prompt from now on. */
  prompt(): void;
  /** Lets `write` print whole lines above the one being typed. */
  above(write: () => void): void;
  /** Takes the prompt away, and gives the terminal back as it was. */
  close(): void;
  onInterrupt: () => void;
}

const historySize = 1000;

export function openTerminal(): Terminal {
  const { stdin, stdout, stderr } = process;
  // With stdout in a file, the prompt is still for the one who types.
  const screen = stdout.isTTY ? stdout : stderr;
  const editor = createInterface({
    ...{ input: stdin, output: screen, terminal: true, prompt: '> ' },
    ...{ historySize, removeHistoryDuplicates: true },
  });
  // From now on: what is typed before it is asked for waits.
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
    // The editor would go up as many rows as its line had when last drawn; it begins at the cursor now.
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
