import assert from 'node:assert/strict';
import { openInspector } from '../support/inspectorClient.ts';
import { firstLine, newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('inspector', {
  'sh --inspect': async (t, example) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, example);
    const client = await openInspector(workshop.server!.port);
    await client.next('connections');
    client.close();
    await client.closed;
  },

  'sh pollywog inspect': async (t, example) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog -p 8080');
    const printed = await firstLine(workshop, example.trim());
    assert.match(printed, /^Open this link in a browser on this machine; it works once/);
  },
});
