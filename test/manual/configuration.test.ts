import assert from 'node:assert/strict';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('configuration', {
  'sh defaultconfig': async (t, code) => {
    const workshop = newWorkshop();
    const [start = '', check = '', run = '', ...more] = code.trim().split('\n');
    assert.deepEqual(more, []);
    assert.match(await runShell(t, workshop, `${start}\n${check}`), /is valid/);
    // The port in the file is 8080, which may be taken here.
    await runShell(t, workshop, 'sed -i \'s/\\b8080\\b/0/; s/"text"/"json"/\' pollywog.json');
    await runShell(t, workshop, run);
    assert.match(await runShell(t, workshop, 'pollywog info'), /version/);
  },
});
