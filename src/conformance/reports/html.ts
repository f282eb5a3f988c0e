/** The report as one HTML page without scripts. */
import { htmlPage } from './htmlPage.ts';
import { markupText } from './markup.ts';
import { byGroup, countVerdicts, type Report, reasonOf, seconds, type TimedResult } from './report.ts';

export function htmlReport({ subject, started, duration, results }: Report): string {
  const counts = [...countVerdicts(results)]
    .filter(([, count]) => count > 0)
    .map(([verdict, count]) => `<span class="${verdict}">${count} ${verdict}</span>`);
  return htmlPage(`Conformance of ${subject}`, [
    `<p>${results.length} cases in ${seconds(duration)} s, begun ${markupText(started)}: ${counts.join(', ')}.</p>`,
    ...[...byGroup(results)].map(([group, of]) => groupTable(group, of)),
  ]);
}

function groupTable(group: string, results: readonly TimedResult[]): string {
  return `<h2>${markupText(group)}</h2>
<table>
<tr><th>Case</th><th>Verdict</th><th>What</th><th>ms</th></tr>
${results.map(row).join('\n')}
</table>`;
}

function row(result: TimedResult): string {
  const { test, verdict, expected, seen, duration } = result;
  const number = test.number === undefined ? '' : `${test.number}<br>`;
  const isOk = verdict === 'OK';
  const details = isOk
    ? ''
    : `<br>${markupText(reasonOf(result))}<br>Expected: <code>${markupText(expected)}</code><br>Seen: <code>${markupText(seen)}</code>`;
  return `<tr><td class="case">${number}<code>${test.name}</code></td><td class="${verdict}">${verdict}</td><td>${markupText(test.description)} ${markupText(test.expectation)}${details}</td><td class="number">${Math.round(duration)}</td></tr>`;
}
