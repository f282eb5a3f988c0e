import assert from 'node:assert/strict';
import { newWorkshop, runLines, testExamples } from './examples.ts';

testExamples('options', {
  'output Usage:': async (_, code) => {
    assert.equal(await runLines(newWorkshop(), 'pollywog --help'), code);
  },
});
