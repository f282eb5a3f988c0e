/** The report as JUnit XML, for CI services. A group is a suite. */
import { markupText } from './markup.ts';
import { byGroup, isFailure, type Report, reasonOf, seconds, type TimedResult, titleOf } from './report.ts';

/** @param isStrict whether NON-STRICT is a failure */
export function junitReport({ subject, started, duration, results }: Report, isStrict: boolean): string {
  const counts = (of: readonly TimedResult[]) => {
    const skipped = of.filter(({ verdict }) => verdict === 'UNIMPLEMENTED').length;
    return `tests="${of.length}" failures="${of.filter(each => isFailure(each, isStrict)).length}" errors="0" skipped="${skipped}"`;
  };
  const timestamp = started.replace(/(?:\.\d+)?Z$/, '');
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${markupText(subject)}" ${counts(results)} time="${seconds(duration)}">`,
  ];
  for (const [group, of] of byGroup(results)) {
    const time = seconds(of.reduce((sum, each) => sum + each.duration, 0));
    lines.push(
      `  <testsuite name="${markupText(group)}" ${counts(of)} time="${time}" timestamp="${timestamp}">`,
      ...of.map(result => testCase(result, isFailure(result, isStrict))),
      '  </testsuite>',
    );
  }
  return `${[...lines, '</testsuites>'].join('\n')}\n`;
}

function testCase(result: TimedResult, hasFailed: boolean): string {
  const { verdict, expected, seen, test, duration } = result;
  const name = markupText(titleOf(result));
  const className = markupText(`conformance.${test.name.split('/')[0]}`);
  const head = `    <testcase name="${name}" classname="${className}" time="${seconds(duration)}"`;
  const reason = markupText(reasonOf(result));
  const details = markupText(`${verdict}\nexpected: ${expected}\nseen: ${seen}\n`);
  if (hasFailed)
    return `${head}><failure type="${verdict}" message="${reason}">${details}</failure></testcase>`;
  if (verdict === 'UNIMPLEMENTED') return `${head}><skipped message="${reason}"/></testcase>`;
  return verdict === 'OK' ? `${head}/>` : `${head}><system-out>${details}</system-out></testcase>`;
}
