/** The files of older versions, one for each room: their names and lines. */

import { closeSync, fstatSync, readdirSync } from 'node:fs';
import { log } from '../../log/log.ts';
import { percentDecode } from '../../protocol/http/path.ts';
import { openRegular, toRead } from '../disk.ts';
import { parseLineObject } from './line.ts';
import { readAt } from './readBackwards.ts';

/** One room's files. */
export interface RoomFiles {
  readonly name: string;
  readonly newestFirst: readonly string[];
}

export interface RoomLine {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly uid: number;
  readonly nick: string;
  readonly text: string;
}

const isoTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

/** Names of the log's own segments begin like this. */
const ownStem = 'messages';

/** All rooms with files in the directory, except the log's own files. */
export function findRoomFiles(directory: string): RoomFiles[] {
  const numbers = new Map<string, number[]>();
  for (const name of readdirSync(directory)) {
    const [, stem, digits] = /^([a-z0-9_%A-F~-]+)(?:\.([1-9]\d{0,14}))?\.jsonl$/.exec(name) ?? [];
    if (stem === undefined || stem === ownStem) continue;
    const known = numbers.get(stem) ?? [];
    known.push(digits === undefined ? Number.POSITIVE_INFINITY : Number(digits));
    numbers.set(stem, known);
  }
  const rooms: RoomFiles[] = [];
  for (const [stem, known] of numbers) {
    const name = roomOf(stem);
    const nameOf = (number: number) =>
      number === Number.POSITIVE_INFINITY ? `${stem}.jsonl` : `${stem}.${number}.jsonl`;
    const newestFirst = known.sort((a, b) => b - a).map(nameOf);
    if (name !== undefined) rooms.push({ name, newestFirst });
    else
      log('warn', 'a room file is not imported', {
        error: `${newestFirst[0]} does not contain the room's name`,
      });
  }
  return rooms;
}

/** The room of a file name: its UTF-8 bytes are percent-encoded. Names that were too long end in a hash, after a tilde. */
function roomOf(stem: string): string | undefined {
  return stem.includes('~') ? undefined : percentDecode(stem);
}

/** An equivalent name for the file of the room `messages`: older versions did not encode the first letter. */
export function movedName(name: string): string {
  return `%6D${name.slice(1)}`;
}

/** @returns undefined if it is not a message */
export function parseRoomLine(line: Buffer): RoomLine | undefined {
  const text = line.includes('"text"') ? line : undefined;
  const value = text && parseLineObject(text);
  if (value === undefined || !Number.isSafeInteger(value.uid)) return undefined;
  const { time, uid, nick } = value;
  if (typeof time !== 'string' || !isoTime.test(time) || Number.isNaN(Date.parse(time))) return undefined;
  if (typeof nick !== 'string' || typeof value.text !== 'string') return undefined;
  return { time: Date.parse(time), uid: uid as number, nick, text: value.text };
}

/** Bytes at the beginning of a file that decide what it is. */
const sampleSize = 512 * 1024;

/** Whether the file begins like one of a room. */
export function isRoomFile(path: string): boolean {
  const descriptor = openRegular(path, toRead);
  if (descriptor === undefined) return false;
  try {
    const sample = readAt(descriptor, 0, Math.min(sampleSize, fstatSync(descriptor).size));
    const lines = sample.toString('utf8').split('\n').slice(0, 100);
    return lines.some(line => parseRoomLine(Buffer.from(line)) !== undefined);
  } finally {
    closeSync(descriptor);
  }
}
