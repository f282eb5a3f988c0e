/** `pollywog-client --conformance URL`: runs the cases against a server, several at once, and reports. */
import { openSync, writeFileSync } from 'node:fs';
import type { SecureContext } from 'node:tls';
import type { ConformanceCase } from '../../conformance/case.ts';
import { htmlReport } from '../../conformance/reports/html.ts';
import { jsonReport } from '../../conformance/reports/json.ts';
import { junitReport } from '../../conformance/reports/junit.ts';
import {
  byGroup,
  countVerdicts,
  isFailure,
  type Report,
  seconds,
  type TimedResult,
  titleOf,
} from '../../conformance/reports/report.ts';
import { tapReport } from '../../conformance/reports/tap.ts';
import { selectCases } from '../../conformance/select.ts';
import { conformanceCases } from '../../conformance/table.ts';
import { UsageError } from '../../options/error.ts';
import type { ClientConfiguration } from '../configuration.ts';
import { dial, readIdentity } from '../dial.ts';
import type { reportFormats } from '../options.ts';
import { ExitCode, terminalSafe } from '../outcome.ts';
import { runCase } from './caseConnection.ts';

/** How many cases run at once. Most of them wait for the server; the large ones keep both ends busy. */
const manyAtOnce = 16;
const fewAtOnce = 2;

const writers: Readonly<
  Record<(typeof reportFormats)[number], (report: Report, isStrict: boolean) => string>
> = {
  junit: junitReport,
  json: jsonReport,
  tap: tapReport,
  html: htmlReport,
};

/** @returns the exit code @throws UsageError if no case is chosen, or a report cannot be written */
export async function runConformance(configuration: ClientConfiguration): Promise<number> {
  const { cases: patterns, quick: isQuick, strict: isStrict, report: reports } = configuration.conformance!;
  const cases = selectCases(conformanceCases, { tests: 'servers', patterns, isQuick });
  if (cases.length === 0) throw new UsageError(`no case matches ${patterns.join(' or ')}`);
  const identity = await readIdentity(configuration);
  const unreachable = await probe(configuration, identity);
  if (unreachable !== undefined) return unreachable;
  // A run takes minutes, so an unwritable report is an error at its start.
  const files = reports.map(({ format, file }) => ({ format, descriptor: openReport(file) }));
  const isPrinting = !reports.some(({ file }) => file === '-');
  const print = (line: string) => {
    if (isPrinting) process.stdout.write(`${terminalSafe(line)}\n`);
  };
  const started = new Date().toISOString();
  const begun = performance.now();
  const results = await runAll(cases, configuration, identity, result => {
    if (result.verdict !== 'OK' && result.verdict !== 'UNIMPLEMENTED') print(caseLine(result));
  });
  const report: Report = {
    ...{ subject: configuration.address.shown, started, results, duration: performance.now() - begun },
  };
  for (const line of unimplementedLines(results)) print(line);
  print(summary(report));
  for (const { format, descriptor } of files) {
    const text = writers[format](report, isStrict);
    if (descriptor === undefined) process.stdout.write(text);
    else writeFileSync(descriptor, text);
  }
  return results.some(result => isFailure(result, isStrict)) ? ExitCode.Failed : ExitCode.Done;
}

/** Tries an ordinary handshake. @returns the exit code if it fails */
async function probe(
  configuration: ClientConfiguration,
  identity: SecureContext | undefined,
): Promise<number | undefined> {
  const connection = await dial(configuration, identity, () => {});
  if ('socket' in connection) {
    connection.socket.destroy();
    return undefined;
  }
  // If the server broke a rule, the cases report it.
  if (connection.exit === ExitCode.ProtocolError) return undefined;
  process.stderr.write(`pollywog-client: ${connection.sentence}\n`);
  return connection.exit;
}

/** Runs the small cases first: the large ones would delay them. @returns the results in the order of the cases */
async function runAll(
  cases: readonly ConformanceCase[],
  configuration: ClientConfiguration,
  identity: SecureContext | undefined,
  onResult: (result: TimedResult) => void,
): Promise<TimedResult[]> {
  const results = new Map<ConformanceCase, TimedResult>();
  const runSome = async (some: readonly ConformanceCase[], atOnce: number) => {
    const waiting = some.values();
    const lane = async () => {
      for (const test of waiting) {
        const result = await runCase(test, configuration, identity);
        results.set(test, result);
        onResult(result);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
  };
  await runSome(
    cases.filter(({ isLarge }) => isLarge !== true),
    manyAtOnce,
  );
  await runSome(
    cases.filter(({ isLarge }) => isLarge === true),
    fewAtOnce,
  );
  return cases.map(test => results.get(test)!);
}

function caseLine(result: TimedResult): string {
  const { verdict, expected, seen } = result;
  return `${verdict.padEnd(13)} ${titleOf(result)}: expected ${expected}; saw ${seen}`;
}

/** One line for all cases of a group that the server does not implement. */
function unimplementedLines(results: readonly TimedResult[]): string[] {
  return [...byGroup(results.filter(({ verdict }) => verdict === 'UNIMPLEMENTED'))].map(
    ([group, { length }]) =>
      `UNIMPLEMENTED ${group}: ${length} cases; the server declines permessage-deflate.`,
  );
}

function summary({ results, duration }: Report): string {
  const counts = [...countVerdicts(results)].filter(([, count]) => count > 0);
  const shown = counts.map(([verdict, count]) => `${count} ${verdict}`).join(', ');
  return `${results.length} cases in ${seconds(duration)} s: ${shown}`;
}

/** @returns a file descriptor, open until the process ends; undefined for stdout */
function openReport(file: string): number | undefined {
  if (file === '-') return undefined;
  try {
    return openSync(file, 'w');
  } catch (error) {
    throw new UsageError(`the report cannot be written: ${(error as Error).message}`);
  }
}
