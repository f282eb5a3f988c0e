/** `pollywog explain`: explains bytes field by field. It runs in the calling process, without a server. */
import { Buffer } from 'node:buffer';
import { existsSync, readFileSync } from 'node:fs';
import { isPacketCapture, readCapture } from '../explain/capture.ts';
import { colours, drawAll, noColours } from '../explain/draw.ts';
import { explain, type SentBytes } from '../explain/explain.ts';
import { beginsHandshake } from '../explain/handshake.ts';
import { isRecording, readRecorded } from '../explain/recorded.ts';
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
  if (json) return JSON.stringify(explanations, undefined, 2);
  return drawAll(explanations, isTerminal ? colours : noColours);
}

/** Separators that people and programs put between bytes: `81 05`, `0x81, 0x05`, `81:05`. */
const separators = /0x|[\s,:;_-]+/gi;

/** @returns the bytes; undefined if the text is not hexadecimal */
function readHex(text: string): Buffer | undefined {
  const digits = text.replace(separators, '');
  if (!/^[\da-f]+$/i.test(digits)) return undefined;
  if (digits.length % 2 === 1)
    throw new UsageError(`${digits.length} hexadecimal digits do not make whole bytes; each byte has two`);
  return Buffer.from(digits, 'hex');
}

function readInput(words: readonly string[]): Buffer {
  const [word = ''] = words;
  const isFile = words.length === 1 && (word === '-' || existsSync(word));
  if (!isFile) {
    const bytes = readHex(words.join(' '));
    if (bytes !== undefined) return bytes;
    throw new UsageError(
      `${words.length === 1 ? `${word} is neither a file nor` : 'these words are not'} hexadecimal digits such as 8105; ${usage}`,
    );
  }
  let bytes: Buffer;
  try {
    bytes = readFileSync(word === '-' ? 0 : word);
  } catch (error) {
    throw new UsageError(`cannot read ${word}: ${(error as Error).message}`);
  }
  if (bytes.length === 0)
    throw new UsageError(`${word === '-' ? 'stdin' : word} is empty; nothing to explain`);
  if (bytes.length > maxInput)
    throw new UsageError(`${word} has more than ${maxInput >> 20} MB; explain a part of it`);
  const text = bytes.length < 1 << 20 ? bytes.toString('latin1') : '';
  return readHex(text) ?? bytes;
}

/** @throws UsageError if a capture is not one whole connection, or a recording is damaged */
function chunksOf(bytes: Buffer, sender: 'client' | 'server'): SentBytes[] {
  try {
    if (isPacketCapture(bytes)) return readCapture(bytes);
    if (isRecording(bytes)) return readRecorded(bytes);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  return [{ sender: beginsHandshake(bytes, 0) ?? sender, bytes }];
}
