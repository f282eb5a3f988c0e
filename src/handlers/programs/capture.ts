/** Processes that report errors on descriptor 2, and their outcome on descriptor 3. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

export const captureStdio = ['ignore', 'ignore', 'pipe', 'pipe'] as const;

export interface Captured {
  readonly errors: string;
  readonly outcome: string;
}

/** Resolves when the process has exited and both descriptors are closed. @throws Error if it could not be started */
export async function readCaptured(child: ChildProcess): Promise<Captured> {
  const [errors, outcome] = await Promise.all([
    readAll(child.stdio[2] as Readable),
    readAll(child.stdio[3] as Readable),
    once(child, 'close'),
  ]);
  return { errors, outcome };
}

/** Output above this limit is read and discarded: a full pipe would block the process. */
const maxKept = 64 * 1024;

async function readAll(stream: Readable): Promise<string> {
  let text = '';
  for await (const piece of stream) if (text.length < maxKept) text += piece;
  return text;
}
