/** The cases find the known faults of other servers: those of the manual's table. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { manualPage } from '../support/documents.ts';
import { echoServers } from './echoServers.ts';
import { runReport } from './runReport.ts';

/** A row: | server and version | fault | `case` | verdict | */
const rows = [
  ...manualPage('conformance').matchAll(/^\| (\w+) [\d.]+ \| .*? \| `([^`]+)` \| ([A-Z-]+) \|$/gm),
];

test('the table of the manual has each server', () => {
  assert.deepEqual(
    [...new Set(rows.map(([, server]) => server))].toSorted(),
    Object.keys(echoServers).toSorted(),
  );
});

describe('known faults', { concurrency: 3 }, () => {
  for (const [server, start] of Object.entries(echoServers)) {
    test(`the cases find the faults of ${server}`, async t => {
      const known = new Map(
        rows.filter(row => row[1] === server).map(([, , name, verdict]) => [name!, verdict!]),
      );
      const cases = await runReport(await start(t), ...[...known.keys()].flatMap(name => ['--cases', name]));
      const found = new Map(
        cases.filter(({ name }) => known.has(name)).map(({ name, verdict }) => [name, verdict]),
      );
      assert.deepEqual(Object.fromEntries(found), Object.fromEntries(known));
    });
  }
});
