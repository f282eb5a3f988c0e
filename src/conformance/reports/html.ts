/** The report as one HTML page without scripts. */
import { markupText } from './markup.ts';
import { countVerdicts, type Report, reasonOf, seconds, type TimedResult } from './report.ts';

const style = `body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #ddd}
h2{margin-top:2rem}code{overflow-wrap:anywhere}.n{white-space:nowrap;font-variant-numeric:tabular-nums}
.v{font-weight:600;white-space:nowrap}.OK{color:#17692f}.NON-STRICT{color:#8a5a00}.FAILED{color:#b00020}.INFORMATIONAL,.UNIMPLEMENTED{color:#456}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#16191d}th,td{border-color:#333}.OK{color:#6fcf8a}.NON-STRICT{color:#e0b050}.FAILED{color:#ff7a85}.INFORMATIONAL,.UNIMPLEMENTED{color:#9ab}}`;

export function htmlReport({ subject, started, duration, results }: Report): string {
  const counts = [...countVerdicts(results)]
    .filter(([, count]) => count > 0)
    .map(([verdict, count]) => `<span class="v ${verdict}">${count} ${verdict}</span>`);
  const groups = [...new Set(results.map(({ test }) => test.group))];
  const title = `Conformance of ${markupText(subject)}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>${style}</style>
</head>
<body>
<h1>${title}</h1>
<p>${results.length} cases in ${seconds(duration)} s, begun ${markupText(started)}: ${counts.join(', ')}.</p>
${groups.map(group => groupTable(group, results)).join('\n')}
</body>
</html>
`;
}

function groupTable(group: string, results: readonly TimedResult[]): string {
  const rows = results.filter(({ test }) => test.group === group).map(row);
  return `<h2>${markupText(group)}</h2>
<table>
<tr><th>Case</th><th>Verdict</th><th>What</th><th>ms</th></tr>
${rows.join('\n')}
</table>`;
}

function row(result: TimedResult): string {
  const { test, verdict, expected, seen, duration } = result;
  const number = test.number === undefined ? '' : `${test.number}<br>`;
  const isOk = verdict === 'OK';
  const details = isOk
    ? ''
    : `<br>${markupText(reasonOf(result))}<br>Expected: <code>${markupText(expected)}</code><br>Seen: <code>${markupText(seen)}</code>`;
  return `<tr><td class="n">${number}<code>${test.name}</code></td><td class="v ${verdict}">${verdict}</td><td>${markupText(test.description)} ${markupText(test.expectation)}${details}</td><td class="n">${Math.round(duration)}</td></tr>`;
}
