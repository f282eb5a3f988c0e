/** Runs the client's conformance cases against a server, and reads its report. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const clientScript = fileURLToPath(new URL('../../../dist/client.js', import.meta.url));
const run = promisify(execFile);

export interface ReportedCase {
  readonly name: string;
  readonly number?: string;
  readonly group: string;
  readonly verdict: string;
  readonly expected: string;
  readonly seen: string;
}

/** @param options further ones, such as `--quick` */
export async function runReport(url: string, ...options: string[]): Promise<readonly ReportedCase[]> {
  const words = [clientScript, '--conformance', url, '--report', 'json:-', ...options];
  // With a FAILED case, the exit code is 1.
  const { stdout } = await run(process.execPath, words, { maxBuffer: 2 ** 26 }).catch(
    (error: { stdout?: string }) => {
      if (!error.stdout) throw error;
      return { stdout: error.stdout };
    },
  );
  return (JSON.parse(stdout) as { cases: ReportedCase[] }).cases;
}
