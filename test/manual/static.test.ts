import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { launchBrowser } from '../support/browser.ts';
import { newWorkshop, runShell, testExamples } from './examples.ts';

testExamples('static', {
  'sh public/docs': async (t, code) => {
    const printed = await runShell(t, newWorkshop(), code);
    assert.equal(printed, '<h1>My pond</h1>\n<h1>How to swim</h1>\n');
  },

  html: async (t, code) => {
    const workshop = newWorkshop({ 'public/index.html': code });
    writeFileSync(join(workshop.folder, 'token'), 'a-token-for-the-tests', { mode: 0o600 });
    await runShell(t, workshop, 'pollywog --static public');
    const browser = await launchBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage();
    const opened = page.waitForEvent('websocket');
    await page.goto(`http://127.0.0.1:${workshop.server!.port}/`);
    await (await opened).waitForEvent('framereceived');
    await runShell(t, workshop, 'pollywog publish orders paid');
    await page.locator('li', { hasText: 'paid' }).waitFor();
  },

  'sh --allow': async (t, code) => {
    const printed = await runShell(t, newWorkshop(), code);
    assert.equal(printed, 'the front page\nsign in to connect here\n');
  },

  'sh --static-fallback': async (t, code) => {
    const printed = await runShell(t, newWorkshop(), code);
    assert.equal(printed, '<script src="/app.js"></script>\n404\n');
  },

  'sh gunzip': async (t, code) => {
    const [size, last] = (await runShell(t, newWorkshop(), code)).split('\n');
    assert.ok(Number(size) > 0 && Number(size) < 30_000, size);
    assert.equal(last, '10000');
  },

  'sh digits': async (t, code) => {
    assert.equal(await runShell(t, newWorkshop(), code), '234');
  },
});
