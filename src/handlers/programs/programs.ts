/** The handlers that are programs of the user's. */
import type { Handler } from '../../core/handler.ts';
import { log } from '../../log/log.ts';
import type { Configuration } from '../../options/configuration.ts';
import { quoted, UsageError } from '../../options/error.ts';
import type { ProgramEntry } from '../../options/program.ts';
import { type Hearing, newHearing } from './listen.ts';
import { newProgramHandler } from './perConnection.ts';
import { newPipeSupply, type PipeSupply } from './pipes.ts';
import type { Program } from './program.ts';
import { findProgram, scriptFault } from './script.ts';
import { newSharedProgramHandler } from './shared.ts';

/** What the handlers of all programs have in common. */
export interface Programs {
  /** Processes of all `--exec` handlers, those included that are about to be started or ended. */
  running: number;
  /** Programs whose clients have left, with the bytes of input that each had not read by then. */
  readonly leftInput: Map<Program, number>;
  readonly hearing: Hearing;
  readonly pipes: PipeSupply;
}

/** @throws UsageError where a program is not there, or not to be run */
export function makeProgramHandlers({ exec, execShared }: Configuration): readonly Handler[] {
  for (const entry of [...exec, ...execShared]) checkProgram(entry);
  if (process.pid === 1 && exec.length + execShared.length > 0) {
    log('warn', 'no init', {
      means:
        'processes that programs leave behind stay as zombies: the server is process 1, and Node does not wait for them',
      remedy: 'docker run --init',
    });
  }
  const programs: Programs = {
    running: 0,
    leftInput: new Map(),
    hearing: newHearing(),
    pipes: newPipeSupply(),
  };
  return [
    ...exec.map(entry => newProgramHandler(entry, programs)),
    ...execShared.map(entry => newSharedProgramHandler(entry, programs)),
  ];
}

/** So that a slip is found at the start, and not by the first who connects. */
function checkProgram({ name, words }: ProgramEntry): void {
  const [word] = words as [string];
  const path = findProgram(word);
  if (path === undefined) {
    const where = word.includes('/') ? 'or it may not be run' : 'on the PATH';
    throw new UsageError(`the program ${quoted(word)} of the handler ${name} is not there, ${where}`);
  }
  const fault = scriptFault(path);
  if (fault !== undefined)
    throw new UsageError(`the program ${quoted(word)} of the handler ${name} ${fault}`);
}
