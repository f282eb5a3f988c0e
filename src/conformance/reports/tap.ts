/** The report in TAP 14, the Test Anything Protocol. FAILED is "not ok", and with `isStrict`, so is NON-STRICT. */
import { isFailure, type Report, reasonOf, titleOf } from './report.ts';

/** TAP 14: a `#` in a description begins a directive unless it is escaped. */
const escaped = (text: string) => text.replaceAll(/[\\#]/g, '\\$&').replaceAll('\n', ' ');

export function tapReport({ results }: Report, isStrict: boolean): string {
  const lines = ['TAP version 14', `1..${results.length}`];
  results.forEach((result, index) => {
    const { verdict } = result;
    const directive = verdict === 'UNIMPLEMENTED' ? ` # SKIP ${escaped(reasonOf(result))}` : '';
    lines.push(
      `${isFailure(result, isStrict) ? 'not ok' : 'ok'} ${index + 1} - ${escaped(titleOf(result))}${directive}`,
    );
    if (verdict === 'OK' || directive !== '') return;
    const details = {
      verdict,
      reason: reasonOf(result),
      expected: result.expected,
      seen: result.seen,
    };
    // A JSON string is a YAML string.
    const yaml = Object.entries(details).map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`);
    lines.push('  ---', ...yaml, '  ...');
  });
  return `${lines.join('\n')}\n`;
}
