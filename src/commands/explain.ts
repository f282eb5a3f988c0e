/** `pollywog explain`: explains bytes field by field. It runs in the calling process, without a server. */
import { type Buffer, isUtf8 } from 'node:buffer';
import { existsSync, readFileSync } from 'node:fs';
import { isPacketCapture, readCapture, readDumpedPackets } from '../explain/capture.ts';
import { colours, drawAll, noColours } from '../explain/draw.ts';
import { explain, type SentBytes } from '../explain/explain.ts';
import { beginsHandshake } from '../explain/handshake.ts';
import { nameOfOther, readPacketDump, readPasted } from '../explain/pasted.ts';
import { isRecording, readRecorded } from '../explain/recorded.ts';
import { printableJson } from '../log/printable.ts';
import type { Arguments } from '../options/arguments.ts';
import { UsageError } from '../options/error.ts';
import { type OptionTable, readValues } from '../options/option.ts';
import { choice, flag } from '../options/values.ts';
import { wordOptions } from './commands.ts';

export const explainOptions = {
  role: {
    kind: choice(['client', 'server'], 'WORD'),
    default: 'client',
    group: 'Explain',
    help: 'sender of the bytes: client or server',
  },
  deflate: {
    kind: flag,
    default: false,
    group: 'Explain',
    help: 'permessage-deflate was negotiated before',
  },
  json: wordOptions.json,
} as const satisfies OptionTable;

const usage = 'usage: pollywog explain HEX|FILE|- [--role client|server] [--deflate] [--json]';

/** Larger input would take seconds, and its explanation would be unreadably long. */
const maxInput = 64 * 1024 * 1024;

/**
 * @param isTerminal whether the text is for a terminal with colours
 * @throws UsageError
 */
export function showExplanation({ given, words }: Arguments<string>, isTerminal: boolean): string {
  if (words.length === 0) throw new UsageError(usage);
  const { role, deflate, json } = readValues(explainOptions, [given]);
  const sender = role === 'server' ? 'server' : 'client';
  const chunks = chunksOf(readInput(words), sender);
  const explanations = explain(chunks, { isCompressed: deflate });
  if (json) return printableJson(explanations, 2);
  return drawAll(explanations, isTerminal ? colours : noColours);
}

interface Input {
  readonly bytes: Buffer;
  /** They may be text. Words on the command line have been read as digits. */
  readonly isFile: boolean;
}

function readInput(words: readonly string[]): Input {
  const [word = ''] = words;
  const isFile = words.length === 1 && (word === '-' || existsSync(word));
  if (!isFile) {
    const bytes = pastedBytes(words.join(' '));
    if (bytes !== undefined) return { bytes, isFile: false };
    throw new UsageError(whyUnreadable(words));
  }
  let bytes: Buffer;
  try {
    bytes = readFileSync(word === '-' ? 0 : word);
  } catch (error) {
    throw new UsageError(`cannot read ${word}: ${whyUnreadableFile(error)}`);
  }
  const name = word === '-' ? 'stdin' : word;
  if (bytes.length === 0) throw new UsageError(`${name} is empty; nothing to explain`);
  if (bytes.length > maxInput)
    throw new UsageError(`${name} has more than ${maxInput >> 20} MiB; explain a part of it`);
  return { bytes, isFile: true };
}

function whyUnreadable(words: readonly string[]): string {
  const [word = ''] = words;
  if (words.every(one => one.trim() === '')) return `the word is empty; ${usage}`;
  if (words.length === 1 && /[/.]/.test(word)) return `there is no file ${word}; ${usage}`;
  const which = words.length === 1 ? `${word} is neither a file nor` : 'these words are not';
  return `${which} hexadecimal digits such as 8105; ${usage}`;
}

function whyUnreadableFile(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EISDIR') return 'it is a folder; name a file';
  return code === 'EACCES' ? 'this user may not read it' : message;
}

/** @throws UsageError */
function pastedBytes(text: string): Buffer | undefined {
  try {
    return readPasted(text);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Text that is neither a dump nor a handshake. Every letter would break a rule of frames. */
function isOtherText(text: string): boolean {
  return /^[\t\r\n -~]+$/.test(text) && text.trim() !== '';
}

/** Longer text is not read as digits. */
const maxPasted = 16 * 1024 * 1024;

/** @throws UsageError if a capture is not one whole connection, or a recording is damaged */
function chunksOf({ bytes, isFile }: Input, sender: 'client' | 'server'): SentBytes[] {
  try {
    if (isPacketCapture(bytes)) return readCapture(bytes);
    if (isRecording(bytes)) return readRecorded(bytes);
    const other = nameOfOther(bytes);
    if (other !== undefined) throw new Error(other);
    const text = isFile && bytes.length <= maxPasted && isUtf8(bytes) ? bytes.toString('utf8') : '';
    const packets = readPacketDump(text);
    if (packets !== undefined) return readDumpedPackets(packets);
    const sent = readPasted(text) ?? bytes;
    const handshake = beginsHandshake(sent, 0);
    if (sent === bytes && handshake === undefined && isOtherText(text))
      throw new Error(
        'this text is neither a handshake nor hexadecimal digits, a dump of bytes, or a recording',
      );
    return [{ sender: handshake ?? sender, bytes: sent }];
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
