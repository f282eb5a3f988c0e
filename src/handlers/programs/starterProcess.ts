/** The starter process (starter.ts). It ends with the server. */
import { type ChildProcess, spawn } from 'node:child_process';
import { captureStdio, readCaptured } from './capture.ts';
import { closeAll, openEnds } from './pipeEnds.ts';
import type { StartReport, StartRequest } from './starter.ts';

const report = (message: StartReport) => process.send?.(message);

process.on('message', (request: StartRequest) => {
  let ends: number[];
  try {
    ends = openEnds(process.ppid, request.pipes, true);
  } catch {
    report({ id: request.id, event: 'unable' });
    return;
  }
  try {
    start(request, ends);
  } catch (error) {
    reportFailure(request, error as NodeJS.ErrnoException);
  } finally {
    closeAll(ends);
  }
});

function start(request: StartRequest, ends: readonly number[]): void {
  const { id, words, environment, isCaptured = false } = request;
  const [command, ...rest] = words as [string, ...string[]];
  const stdio = isCaptured ? [...captureStdio] : ends.length === 0 ? 'ignore' : [...ends];
  const child: ChildProcess = spawn(command, rest, { stdio, env: environment, detached: ends.length > 0 });
  child.on('error', error => reportFailure(request, error));
  if (child.pid === undefined) return;
  report({ id, event: 'started', pid: child.pid });
  if (isCaptured) void reportCaptured(id, child);
  else child.on('exit', (code, signal) => report({ id, event: 'exited', code, signal }));
}

async function reportCaptured(id: number, child: ChildProcess): Promise<void> {
  const captured = await readCaptured(child);
  report({ id, event: 'exited', code: child.exitCode, signal: child.signalCode, captured });
}

function reportFailure({ id }: StartRequest, { message, code }: NodeJS.ErrnoException): void {
  report({ id, event: 'failed', message, code });
}

process.once('disconnect', () => process.exit());
// Signals to the group are for the server, which may need the starter until it ends.
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
report({ event: 'ready' });
