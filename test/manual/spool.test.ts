import assert from 'node:assert/strict';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('spool', {
  'sh spool/x.tmp': async (t, code) => {
    assert.equal(await runShell(t, newWorkshop(), code), 'sent: 0\n');
  },
});
