import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../support/documents.ts';
import { exampleCode, newWorkshop, runProgram, runShell, testExamples } from './examples.ts';

const start = 'sh pollywog --conformance';

testExamples('conformance', {
  // The next example runs against it.
  [start]: () => {},

  'js getCaseCount': async (t, code) => {
    const workshop = newWorkshop({ 'driver.mjs': code });
    symlinkSync(fileURLToPath(new URL('node_modules', root)), join(workshop.folder, 'node_modules'));
    // Cases that wait for seconds, and large ones, are left out.
    const options = ['6.4', '5.19', '5.20', '9.*'].map(pattern => ` --conformance-exclude '${pattern}'`);
    await runShell(t, workshop, exampleCode('conformance', start).trimEnd() + options.join(''));
    const url = `ws://127.0.0.1:${workshop.server!.port}`;
    await runProgram(workshop, [process.execPath, 'driver.mjs', url]);
    assert.equal(await runShell(t, workshop, exampleCode('conformance', 'sh grep')), '');
  },

  // Run behind the driver, above.
  'sh grep': () => {},
});
