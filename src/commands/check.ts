/** The command line of `pollywog check URL`, which runs in the calling process (check/check.ts). */

import { readToken } from '../access/tokens.ts';
import { formatFinding, readCheckUrl, runCheck } from '../check/check.ts';
import { printableJson } from '../log/printable.ts';
import type { Arguments } from '../options/arguments.ts';
import { Exit, UsageError } from '../options/error.ts';
import { type OptionTable, readValues } from '../options/option.ts';
import { readAuthority } from '../options/tls.ts';
import { file, flag, namedFile } from '../options/values.ts';
import { defaults } from '../protocol/limits.ts';

/** Longer than the usual timeouts of proxies: 60 s in nginx and HAProxy. */
export const checkSilence = 70_000;

export const checkOptions = {
  quick: {
    kind: flag,
    default: false,
    group: 'Check',
    help: `leave out the ${checkSilence / 1000} seconds of silence`,
  },
  token: {
    kind: file,
    default: 'none',
    group: 'Check',
    help: 'publish a message with the token in this file',
  },
  ca: {
    kind: namedFile,
    repeatable: true,
    default: [],
    group: 'Check',
    help: "trust this CA instead of the system's",
  },
  json: { kind: flag, default: false, group: 'Check', help: 'print JSON, a line for each step' },
} as const satisfies OptionTable;

/**
 * @param print writes one text and a newline
 * @returns the exit code: 1 if a step found a fault
 * @throws UsageError
 */
export async function runCheckCommand(
  { given, words }: Arguments<string>,
  print: (text: string) => Promise<number>,
): Promise<number> {
  const [url, extra] = words;
  if (url === undefined || extra !== undefined)
    throw new UsageError('usage: pollywog check URL [--quick] [--token FILE] [--ca FILE] [--json]');
  const { quick, token, ca, json } = readValues(checkOptions, [given]);
  const settings = {
    token: readToken(token),
    authorities: await Promise.all(ca.map(path => readAuthority({ option: '--ca', file: path }))),
    silence: quick ? 0 : checkSilence,
    timeout: defaults.handshakeTimeout,
  };
  let faults = 0;
  for await (const finding of runCheck(readCheckUrl(url), settings)) {
    if (finding.result === 'wrong') faults++;
    await print(json ? printableJson(finding) : formatFinding(finding));
  }
  if (!json) await print(faults === 0 ? 'everything works' : faults === 1 ? '1 fault' : `${faults} faults`);
  return faults === 0 ? Exit.Done : Exit.Failed;
}
