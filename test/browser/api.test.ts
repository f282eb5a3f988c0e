/** A page of another origin, in a real browser, cannot use the HTTP commands. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { launchBrowser } from '../support/browser.ts';
import { openServer } from '../support/commandWays.ts';
import { connectRaw } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';

describe('a page of another origin', () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser?.close());

  test('can neither run a command by any request nor read the answer', async t => {
    const server = await openServer(t);
    const listener = await connectRaw(server.port);
    // A page without a content security policy, which would block the requests instead of the server.
    const elsewhere = createServer((_, response) =>
      response.setHeader('Content-Type', 'text/html').end('<p>hi'),
    );
    elsewhere.listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    t.after(() => void elsewhere.close().closeAllConnections());
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`);
    const target = `http://127.0.0.1:${server.port}/api/broadcast`;
    const outcomes = await page.evaluate(
      async ([url, token]) => {
        const form = new URLSearchParams({ text: 'from a page' });
        const json = '{"text": "from a page"}';
        const tries: RequestInit[] = [
          { body: form },
          { body: form, mode: 'no-cors', credentials: 'include' },
          { body: json, headers: { 'Content-Type': 'text/plain' }, mode: 'no-cors' },
          { body: json, headers: { 'Content-Type': 'application/json' } },
          // Even with the token: the browser sends a preflight request first.
          { body: json, headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` } },
        ];
        const said: string[] = [];
        for (const one of tries) {
          const answer = await fetch(url!, { method: 'POST', ...one }).catch(() => undefined);
          said.push(answer === undefined ? 'refused' : `${answer.type} ${await answer.text()}`);
        }
        navigator.sendBeacon(url!, form);
        return said;
      },
      [target, server.token],
    );
    assert.deepEqual(outcomes, ['refused', 'opaque ', 'opaque ', 'refused', 'refused']);
    // Submitting a form leaves the page; the answer is the server's refusal.
    await page.setContent(
      `<form method="post" action="${target}"><input name="text" value="from a page"></form>`,
    );
    const [response] = await Promise.all([
      page.waitForNavigation(),
      page.evaluate(() => document.forms[0]!.submit()),
    ]);
    assert.equal(response?.status(), 401);
    listener.send(frame(opcode.ping, 'x'));
    assert.equal((await listener.nextFrame())?.opcode, opcode.pong, 'nothing was said before');
    listener.destroy();
  });
});
