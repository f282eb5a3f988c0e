import assert from 'node:assert/strict';
import { launchBrowser } from '../support/browser.ts';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('polling', {
  'sh curl': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog');
    const expected = [...code.matchAll(/# (\{.*\})$/gm)].map(([, answer]) => `${answer}\n`);
    assert.equal(expected.length, 4);
    const here = { 'localhost:8080': `127.0.0.1:${workshop.server!.port}` };
    assert.equal(await runShell(t, workshop, code, here), expected.join(''));
  },

  'js EventSource': async (t, code) => {
    const workshop = newWorkshop();
    await runShell(t, workshop, 'pollywog');
    const browser = await launchBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${workshop.server!.port}/`);
    const heard = page.waitForEvent('console');
    await page.evaluate(`(async () => { ${code} })()`);
    assert.equal((await heard).text(), '{"seq":1,"text":"hello"}');
  },
});
