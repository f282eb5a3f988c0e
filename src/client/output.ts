/** The client's output: messages to stdout, everything else line by line to stderr. */
import { Buffer } from 'node:buffer';
import { printableJson } from '../log/printable.ts';
import type { Message } from '../protocol/websocket/message.ts';
import type { ClientConfiguration } from './configuration.ts';
import { terminalSafe } from './outcome.ts';
import type { Terminal } from './terminal.ts';

export interface ClientOutput {
  /** Queues a message for the next flush; its bytes are copied. */
  message(message: Message): void;
  /** Queues a line for the next flush. */
  line(text: string): void;
  /** Writes queued output. @returns whether stdout accepts more; if not, `onDrain` is called when it does */
  flush(): boolean;
  /** Writes lines to stderr at once. */
  notice(...lines: readonly string[]): void;
  onDrain: () => void;
  /** stdout failed: its reader is gone (EPIPE), or it cannot be written to. */
  onGone: (error: NodeJS.ErrnoException) => void;
}

/** Bytes of a binary message that are shown on stderr. */
const shownBytes = 32;

/** @param terminal the terminal, if input is typed there: output appears above the line being typed */
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
      // stdout and stderr may be the same terminal: keep their order.
      if (isWatched) output.flush();
      const text = lines.map(line => `${terminalSafe(line)}\n`).join('');
      if (text !== '') print(() => stderr.write(text));
    },
    onDrain() {},
    onGone() {},
  };
  const textOf = (bytes: Buffer): Buffer => {
    if (framing === 'json') return Buffer.from(printableJson(bytes.toString('utf8')));
    // A server must not control the terminal.
    return isWatched && framing !== 'binary' ? Buffer.from(terminalSafe(bytes.toString('utf8'))) : bytes;
  };
  stdout.on('drain', () => output.onDrain());
  stdout.on('error', error => {
    isGone = true;
    output.onGone(error);
    // Nothing will drain any more: release the waiting session.
    output.onDrain();
  });
  stderr.on('error', () => {});
  return output;
}

function showBinary(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.subarray(0, shownBytes)).toString('hex');
  return `<binary ${bytes.length} bytes: ${hex}${bytes.length > shownBytes ? '...' : ''}>`;
}

/** Resolves when all output was written, or has failed. */
export async function untilPrinted(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await new Promise<void>(resolve => stream.write('', () => resolve()));
  }
}
