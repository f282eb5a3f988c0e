/** Runs client drivers in the classic form against a server, and reads the reports. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { classicCases } from '../../../src/conformance/table.ts';
import { findPythonWithWebsockets } from '../../support/install.ts';
import { startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const run = promisify(execFile);

export interface CaseOfReport {
  readonly behavior: string;
  readonly behaviorClose: string;
  readonly duration: number;
  readonly reportfile: string;
}

/** The options of a server that tests clients, for tests. */
export const suiteOptions = ['-p', '0', '--control', 'none', '--log-format', 'json', '--conformance'];

/** By the number of the case. */
export type Results = Readonly<Record<string, CaseOfReport>>;

export const drivers = {
  ws: () => [process.execPath, fileURLToPath(new URL('./wsDriver.js', import.meta.url))],
  websockets: () => [
    findPythonWithWebsockets(),
    fileURLToPath(new URL('../../../../test/handlers/conformance/websockets_driver.py', import.meta.url)),
  ],
  pollywog: () => [process.execPath, fileURLToPath(new URL('./pollywogDriver.js', import.meta.url))],
} as const satisfies Record<string, () => readonly string[]>;

/** Runs all cases but those of the patterns. @returns the agent's part of `index.json`, and the folder of the reports */
export async function runDriver(
  client: keyof typeof drivers,
  excluded: readonly string[],
): Promise<{ results: Results; reports: string }> {
  const folder = temporaryFolder();
  const excluding = excluded.flatMap(pattern => ['--conformance-exclude', pattern]);
  const server = await startServerWith([...suiteOptions, ...excluding], { folder });
  try {
    const [program = '', ...words] = drivers[client]();
    await run(program, [...words, `ws://127.0.0.1:${server.port}`, client], {
      env: { PATH: process.env['PATH'], PYTHONDONTWRITEBYTECODE: '1' },
    });
    // The driver has requested the reports, so the server has written them.
    const reports = join(folder, 'reports/clients');
    const results = JSON.parse(readFileSync(join(reports, 'index.json'), 'utf8'))[client] as Results;
    return { results, reports };
  } finally {
    await server.stop();
  }
}

/** The cases that limit the client's window to 256 bytes. */
const windowOf256 = classicCases.map(({ number }) => number!).filter(number => /^13\.[357]\./.test(number));

/** The verdicts of Autobahn's suite on the client, by number, if they are not OK. */
export const knownVerdicts: Readonly<Record<keyof typeof drivers, Readonly<Record<string, string>>>> = {
  // It checks text when the message is complete.
  ws: {
    ...{ '6.4.1': 'NON-STRICT', '6.4.2': 'NON-STRICT', '6.4.3': 'NON-STRICT', '6.4.4': 'NON-STRICT' },
    ...{ '7.1.6': 'INFORMATIONAL', '7.13.1': 'INFORMATIONAL', '7.13.2': 'INFORMATIONAL' },
  },
  // It checks text frame by frame. Python's zlib cannot compress with a window of 256 bytes (RFC 7692 §7.1.2.2 allows 8 bits).
  websockets: {
    ...Object.fromEntries(windowOf256.map(number => [number, 'FAILED'])),
    ...{ '6.4.3': 'NON-STRICT', '6.4.4': 'NON-STRICT' },
    ...{ '7.1.6': 'INFORMATIONAL', '7.13.1': 'INFORMATIONAL', '7.13.2': 'INFORMATIONAL' },
  },
  pollywog: { '7.1.6': 'INFORMATIONAL', '7.13.1': 'INFORMATIONAL', '7.13.2': 'INFORMATIONAL' },
};

/** These libraries may fail the connection before the program has echoed the previous message: OK or NON-STRICT, depending on timing. */
const racers = ['websockets', 'pollywog'];
const racing = ['3.2', '3.3', '3.4', '4.1.3', '4.1.4', '4.1.5', '4.2.3', '4.2.4', '4.2.5', '5.15'];

/** The verdicts other than OK, except NON-STRICT if it depends on timing. */
export function unusual(client: keyof typeof drivers, results: Results): Record<string, string> {
  const isRacing = (number: string) => racers.includes(client) && racing.includes(number);
  const entries = Object.entries(results).map(([number, { behavior }]) => [number, behavior] as const);
  return Object.fromEntries(
    entries.filter(
      ([number, behavior]) => behavior !== 'OK' && !(isRacing(number) && behavior === 'NON-STRICT'),
    ),
  );
}

/** The numbers of the cases whose connection did not end correctly. */
export function badlyClosed(results: Results): string[] {
  return Object.entries(results)
    .filter(([, { behaviorClose }]) => behaviorClose !== 'OK' && behaviorClose !== 'INFORMATIONAL')
    .map(([number]) => number);
}
