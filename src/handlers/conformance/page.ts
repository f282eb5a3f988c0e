/** The page `index.html`: the faults of each agent, then a table of all results. */
import type { ConformanceCase } from '../../conformance/case.ts';
import { htmlPage } from '../../conformance/reports/htmlPage.ts';
import { markupText } from '../../conformance/reports/markup.ts';
import { verdicts } from '../../conformance/reports/report.ts';
import { combined } from '../../conformance/verdict.ts';
import { type Agent, numberOf, type StoredResult, type Suite } from './suite.ts';

/** @param madeAt the time on the page */
export function reportPage({ cases, agents }: Suite, madeAt: Date): string {
  const tested = [...agents.values()].filter(({ results }) => results.size > 0);
  return htmlPage('Conformance of WebSocket clients', [
    `<p>Pollywog tested these clients with ${cases.length} cases, numbered as in Autobahn's test suite. Written at ${madeAt.toISOString()}.</p>`,
    summary(tested, cases),
    ...tested.map(agent => faults(agent, cases)),
    '<h2>All cases</h2>',
    allCases(tested, cases),
  ]);
}

function summary(agents: readonly Agent[], cases: readonly ConformanceCase[]): string {
  const head = ['agent', ...verdicts, 'closed badly', 'not run'].map(word => `<th>${word}</th>`).join('');
  const rows = agents.map(({ name, results }) => {
    const all = [...results.values()];
    const counts = verdicts.map(one => all.filter(({ behavior }) => behavior === one).length);
    const missing = cases.filter(test => !results.has(numberOf(test))).length;
    const cells = [...counts, all.filter(isClosedBadly).length, missing].map(count => `<td>${count}</td>`);
    return `<tr><td>${markupText(name)}</td>${cells.join('')}</tr>`;
  });
  return `<table><tr>${head}</tr>${rows.join('\n')}</table>`;
}

/** The results of one agent that are not OK, the worst first. */
function faults({ name, results }: Agent, cases: readonly ConformanceCase[]): string {
  const seen = cases.flatMap(test => {
    const result = results.get(numberOf(test));
    return result === undefined ? [] : [{ test, result }];
  });
  const rows = [
    ...seen.filter(({ result }) => result.behavior === 'FAILED'),
    ...seen.filter(({ result }) => result.behavior === 'NON-STRICT'),
    ...seen.filter(({ result }) => result.behavior === 'OK' && isClosedBadly(result)),
  ].map(({ test, result }) => {
    const what = `${caseLink(test)}<br><small>${markupText(test.description)}</small>`;
    return `<tr><td>${what}</td>${cell(result)}<td>${markupText(result.expected)}</td><td>${markupText(result.seen)}</td></tr>`;
  });
  if (rows.length === 0) return '';
  const head = '<tr><th>case</th><th>verdict</th><th>expected</th><th>seen</th></tr>';
  return `<h2>${markupText(name)}</h2>\n<table>${head}\n${rows.join('\n')}</table>`;
}

function allCases(agents: readonly Agent[], cases: readonly ConformanceCase[]): string {
  const head = ['case', ...agents.map(({ name }) => name)]
    .map(word => `<th>${markupText(word)}</th>`)
    .join('');
  const rows: string[] = [];
  let group = '';
  for (const test of cases) {
    if (test.group !== group) {
      group = test.group;
      rows.push(`<tr><th colspan="${agents.length + 1}">${markupText(group)}</th></tr>`);
    }
    const cells = agents.map(({ results }) => cell(results.get(numberOf(test))));
    const title = markupText(`${test.description} ${test.expectation}`);
    rows.push(
      `<tr id="${numberOf(test)}"><td title="${title}">${numberOf(test)} ${markupText(test.name)}</td>${cells.join('')}</tr>`,
    );
  }
  return `<table><tr>${head}</tr>\n${rows.join('\n')}</table>`;
}

const caseLink = (test: ConformanceCase) =>
  `<a href="#${numberOf(test)}">${numberOf(test)}</a> ${markupText(test.name)}`;

function cell(result: StoredResult | undefined): string {
  if (result === undefined) return '<td class="missing">not run</td>';
  const { behavior, behaviorClose, duration, remoteCloseCode, reportFile } = result;
  const close = isClosedBadly(result) ? `, close: ${behaviorClose}` : '';
  const code = remoteCloseCode === null ? '' : `, ${remoteCloseCode}`;
  return `<td class="${combined(behavior, behaviorClose)}"><a href="${markupText(reportFile)}">${behavior}</a>${close} <small>${duration} ms${code}</small></td>`;
}

const isClosedBadly = ({ behaviorClose }: StoredResult) =>
  behaviorClose !== 'OK' && behaviorClose !== 'INFORMATIONAL';
