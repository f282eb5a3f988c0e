/** The README's commands, as a shell runs them. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { serverScript } from './serverProcess.ts';

/**
 * Runs a script in which `pollywog` is the project's own, and controls the server behind this socket.
 * @returns what it printed. @throws Error if a command fails
 */
export async function runScript(script: string, control: string): Promise<string> {
  const pollywog = `pollywog() { "${process.execPath}" "${serverScript}" "$@"; }`;
  const env = { ...process.env, POLLYWOG_CONTROL: control };
  const { stdout } = await promisify(execFile)('sh', ['-ec', `${pollywog}\n${script}`], { env });
  return stdout;
}
