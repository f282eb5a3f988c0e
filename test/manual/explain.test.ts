import assert from 'node:assert/strict';
import { exampleCode, newWorkshop, type Runner, runLines, testExamples } from './examples.ts';

/** The command prints the lines of the example that follows it. */
const prints =
  (output: string): Runner =>
  async (_, code) => {
    const printed = await runLines(newWorkshop({}), code);
    const expected = exampleCode('explain', `output ${output}`);
    assert.ok(printed.includes(expected), `${expected}\nis not in\n${printed}`);
  };

testExamples('explain', {
  'sh 81 85 37': prints('frame of the client'),
  'output frame of the client': () => {},
  'sh 81 05 48': prints('refused'),
  'output refused': () => {},
  'sh --deflate': prints('DEFLATE data'),
  'output DEFLATE data': () => {},
  'sh printf': prints('SHA-1'),
  'output SHA-1': () => {},
});
