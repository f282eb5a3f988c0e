import assert from 'node:assert/strict';
import { readFileSync, symlinkSync } from 'node:fs';
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

  // The example above runs it, after the driver.
  'sh grep': () => {},

  // All small cases are in test/client/conformance.test.ts.
  'sh --quick': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog');
    const printed = await runShell(t, workshop, `${code.trimEnd()} --cases 2`);
    assert.match(printed, /^11 cases in \S+ s: 11 OK$/m);
  },

  // test/client/conformance.test.ts compares it with what is printed.
  'output NON-STRICT': () => {},

  'sh junit:': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog');
    await runShell(t, workshop, `${code.trimEnd()} --cases 2`);
    assert.match(readFileSync(join(workshop.folder, 'conformance.xml'), 'utf8'), /tests="11" failures="0"/);
    assert.match(readFileSync(join(workshop.folder, 'conformance.html'), 'utf8'), /11 OK/);
  },
});
