/** What the client prints: messages on stdout, and all else, line by line, on stderr. */
import { Buffer } from 'node:buffer';
import { printableJson } from '../log/printable.ts';
import type { Message } from '../protocol/websocket/message.ts';
import type { ClientConfiguration } from './configuration.ts';
import { terminalSafe } from './outcome.ts';
import type { Terminal } from './terminal.ts';

export interface ClientOutput {
  /** Prints a message when next flushed; its bytes are copied. */
  message(message: Message): void;
  /** Prints a line on stdout when next flushed. */
  line(text: string): void;
  /** @returns whether stdout takes more now; if not, `onRoom` is called when it does */
  flush(): boolean;
  /** Prints lines on stderr at once. */
  notice(...lines: readonly string[]): void;
  onRoom: () => void;
  /** Whoever read stdout went away; or, with an error, it cannot be written to. */
  onGone: (error: NodeJS.ErrnoException) => void;
}

/** How much of a binary message is shown on stderr. */
const shownBytes = 32;

/** @param terminal where someone types, too: what is heard must not run into what they typed */
export function newClientOutput(
  framing: ClientConfiguration['framing'],
  terminal: Terminal | undefined,
): ClientOutput {
  const { stdout, stderr } = process;
  const isWatched = stdout.isTTY === true;
  const separator = Buffer.from(framing === 'binary' ? '' : framing === 'null' ? '\0' : '\n');
  let waiting: Buffer[] = [];
  let isGone = false;
  const print = (write: () => void) => (terminal === undefined ? write() : terminal.above(write));
  const output: ClientOutput = {
    message({ isText, bytes, start, end }) {
      if (!isText && framing !== 'binary') {
        output.notice(showBinary(bytes.subarray(start, end)));
        return;
      }
      waiting.push(textOf(Buffer.from(bytes.subarray(start, end))), separator);
    },
    line(text) {
      waiting.push(Buffer.from(text), separator);
    },
    flush() {
      const bytes = Buffer.concat(waiting);
      waiting = [];
      if (isGone) return true;
      if (bytes.length > 0) print(() => stdout.write(bytes));
      return !stdout.writableNeedDrain;
    },
    notice(...lines) {
      // stdout and stderr are often one terminal: what came first is shown first.
      if (isWatched) output.flush();
      const text = lines.map(line => `${terminalSafe(line)}\n`).join('');
      if (text !== '') print(() => stderr.write(text));
    },
    onRoom() {},
    onGone() {},
  };
  const textOf = (bytes: Buffer): Buffer => {
    if (framing === 'json') return Buffer.from(printableJson(bytes.toString('utf8')));
    // A server's bytes are no commands to a terminal.
    return isWatched && framing !== 'binary' ? Buffer.from(terminalSafe(bytes.toString('utf8'))) : bytes;
  };
  stdout.on('drain', () => output.onRoom());
  stdout.on('error', error => {
    isGone = true;
    output.onGone(error);
    // Whoever waits for room waits no more.
    output.onRoom();
  });
  stderr.on('error', () => {});
  return output;
}

function showBinary(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.subarray(0, shownBytes)).toString('hex');
  return `<binary ${bytes.length} bytes: ${hex}${bytes.length > shownBytes ? '...' : ''}>`;
}

/** Resolves when all that was heard has gone out, or never can. */
export async function untilPrinted(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await new Promise<void>(resolve => stream.write('', () => resolve()));
  }
}
