/** The command line of `pollywog check URL`, which runs in the calling program (check/check.ts). */

import { readToken } from '../access/tokens.ts';
import { formatFinding, readCheckUrl, runCheck } from '../check/check.ts';
import { readArguments } from '../options/arguments.ts';
import { Exit, UsageError } from '../options/error.ts';
import { type OptionTable, readValues } from '../options/option.ts';
import { file, flag } from '../options/values.ts';
import { defaults } from '../protocol/limits.ts';

const checkOptions = {
  quick: { kind: flag, default: false, group: 'Check', help: 'skip the 70 seconds of silence' },
  token: { kind: file, default: 'none', group: 'Check', help: 'file with a token: publishes a test message' },
  json: { kind: flag, default: false, group: 'Check', help: 'print JSON, a line for each step' },
} as const satisfies OptionTable;

/** Longer than the usual time-out of proxies: nginx and HAProxy have 60 s. */
const silence = 70_000;

/**
 * @param argv what follows the word `check`
 * @param print writes one text and a newline
 * @returns the exit code: 1 if something is wrong
 * @throws UsageError
 */
export async function runCheckCommand(
  argv: readonly string[],
  print: (text: string) => Promise<number>,
): Promise<number> {
  const { given, words } = readArguments<keyof typeof checkOptions>(argv, checkOptions);
  const [url, extra] = words;
  if (url === undefined || extra !== undefined)
    throw new UsageError('usage: pollywog check URL [--quick] [--token FILE] [--json]');
  const { quick, token, json } = readValues(checkOptions, [given]);
  const settings = {
    token: readToken(token),
    silence: quick ? 0 : silence,
    patience: defaults.handshakeTimeout,
  };
  let isGood = true;
  for await (const finding of runCheck(readCheckUrl(url), settings)) {
    isGood &&= finding.result !== 'wrong';
    await print(json ? JSON.stringify(finding) : formatFinding(finding));
  }
  if (!json) await print(isGood ? 'everything works' : 'something is wrong');
  return isGood ? Exit.Done : Exit.Failed;
}
