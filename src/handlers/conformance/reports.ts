/**
 * The reports on clients, in the classic suite's format: a JSON file for each finished case and, when a client requests the
 * reports, `index.json` with all results, and a page.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { log } from '../../log/log.ts';
import { makeFolder } from '../../storage/disk.ts';
import { caseReport, type ReportedCase } from './caseReport.ts';
import { reportPage } from './page.ts';
import { type Agent, numberOf, type Suite } from './suite.ts';

/** Notes the result of a case, and writes its report. */
export function noteResult(suite: Suite, agent: Agent, reported: ReportedCase): void {
  const { result, outcome } = reported;
  const number = numberOf(result.test);
  const reportFile = `${agent.fileName}_case_${number.replaceAll('.', '_')}.json`;
  agent.results.set(number, {
    behavior: result.behavior,
    behaviorClose: result.behaviorClose,
    remoteCloseCode: result.remoteCloseCode ?? null,
    duration: outcome.duration,
    expected: result.expected,
    seen: result.seen,
    reportFile,
  });
  if (suite.folder !== '') tryToWrite(suite.folder, reportFile, () => jsonText(caseReport(reported)));
}

/** Writes `index.json` and `index.html`. @returns whether both were written */
export function writeReports(suite: Suite): boolean {
  const { folder } = suite;
  if (folder === '') return true;
  const isIndexWritten = tryToWrite(folder, 'index.json', () => jsonText(indexOf(suite)));
  return tryToWrite(folder, 'index.html', () => reportPage(suite, new Date())) && isIndexWritten;
}

/** `{agent: {number: {behavior, …}}}`, in alphabetical order. */
function indexOf({ agents }: Suite): object {
  const sorted = <T>(map: ReadonlyMap<string, T>) => [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    sorted(agents)
      .filter(([, { results }]) => results.size > 0)
      .map(([name, { results }]) => [
        name,
        Object.fromEntries(
          sorted(results).map(
            ([number, { behavior, behaviorClose, duration, remoteCloseCode, reportFile }]) => [
              number,
              { behavior, behaviorClose, duration, remoteCloseCode, reportfile: reportFile },
            ],
          ),
        ),
      ]),
  );
}

// Scripts that read these files line by line rely on the classic suite's form.
const jsonText = (value: unknown) => `${JSON.stringify(value, null, 3)}\n`;

/** Replaces the file atomically. Logs a failure, and loses only this report. */
function tryToWrite(folder: string, name: string, text: () => string): boolean {
  const path = join(folder, name);
  try {
    makeFolder(folder);
    writeFileSync(`${path}.new`, text());
    renameSync(`${path}.new`, path);
    return true;
  } catch (error) {
    log('error', 'report not written', { path, error: (error as Error).message });
    return false;
  }
}
