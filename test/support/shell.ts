/** Runs commands of the documents in a shell. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { serverScript } from './serverProcess.ts';

/**
 * Runs a script in which `pollywog` is the program under test and controls the server of this socket.
 * @returns the output. @throws Error if a command fails
 */
export async function runScript(script: string, control: string): Promise<string> {
  const pollywog = `pollywog() { "${process.execPath}" "${serverScript}" "$@"; }`;
  const env = { ...process.env, POLLYWOG_CONTROL: control };
  const { stdout } = await promisify(execFile)('sh', ['-ec', `${pollywog}\n${script}`], { env });
  return stdout;
}
