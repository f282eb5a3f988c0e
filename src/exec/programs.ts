/** The handlers that are programs of the user's. */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Handler } from '../connection/handler.ts';
import type { Configuration } from '../options/configuration.ts';
import { quoted, UsageError } from '../options/error.ts';
import type { ProgramEntry } from '../options/program.ts';
import { newProgramHandler, type ProgramCount } from './perConnection.ts';
import { newSharedProgramHandler } from './shared.ts';

/** @throws UsageError where a program is not there, or not to be run */
export function makeProgramHandlers({ exec, execShared }: Configuration): readonly Handler[] {
  for (const entry of [...exec, ...execShared]) checkProgram(entry);
  const count: ProgramCount = { running: 0 };
  return [
    ...exec.map(entry => newProgramHandler(entry, count)),
    ...execShared.map(entry => newSharedProgramHandler(entry)),
  ];
}

/** So that a slip is found at the start, and not by the first who connects. */
function checkProgram({ name, words }: ProgramEntry): void {
  const [word] = words as [string];
  const folders = word.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  if (folders.some(folder => isProgram(folder === '' ? word : join(folder, word)))) return;
  const where = word.includes('/') ? 'or it may not be run' : 'on the PATH';
  throw new UsageError(`the program ${quoted(word)} of the handler ${name} is not there, ${where}`);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
