/** The report as JSON: one object, for programs. */
import { countVerdicts, type Report, reasonOf } from './report.ts';

export function jsonReport({ subject, started, duration, results }: Report): string {
  const counts = Object.fromEntries(countVerdicts(results));
  const cases = results.map(result => {
    const { test, verdict, behavior, behaviorClose, expected, seen } = result;
    return {
      name: test.name,
      number: test.number,
      group: test.group,
      description: test.description,
      expectation: test.expectation,
      ...{ verdict, behavior, behaviorClose },
      ...{ reason: reasonOf(result), expected, seen },
      closeCode: result.remoteCloseCode,
      closeReason: result.remoteCloseReason,
      duration: Math.round(result.duration),
    };
  });
  return `${JSON.stringify({ subject, started, duration: Math.round(duration), counts, cases }, null, 2)}\n`;
}
