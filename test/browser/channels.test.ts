/** Channels in a real browser: the page, and EventSource. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { launchBrowser } from '../support/browser.ts';
import { startChannels } from '../support/channelServer.ts';
import { type Hooks, startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const token = 'a-token-for-the-tests';

/** The page is a part of the built server. @returns its port, and a function that publishes */
async function startServer(test: Hooks, ...options: string[]) {
  const file = join(temporaryFolder(), 'token');
  writeFileSync(file, token, { mode: 0o600 });
  const { port } = await startServerFor(test, '--publish-token', file, ...options);
  return {
    port,
    async publish(channel: string, body: string, query = '', type = 'text/plain'): Promise<void> {
      const url = `http://127.0.0.1:${port}/channels/${encodeURIComponent(channel)}${query}`;
      const headers = { Authorization: `Bearer ${token}`, 'Content-Type': type };
      const { status } = await fetch(url, { method: 'POST', body, headers });
      assert.equal(status, 200);
    },
  };
}

describe('channels in Chromium', { timeout: 120_000 }, () => {
  test('the page of a channel shows its kept messages, new ones and gaps, and nothing as HTML', async t => {
    const { port, publish } = await startServer(t, '--history', '2');
    const browser = await launchBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage({ viewport: { width: 800, height: 500 } });
    const faults: string[] = [];
    page.on('pageerror', error => faults.push(String(error)));
    page.on('console', message => {
      if (message.type() === 'error') faults.push(message.text());
    });
    await publish('orders/eu', 'order 17 is paid');
    await page.goto(`http://127.0.0.1:${port}/channels/orders%2Feu`);
    await page.locator('#messages .data', { hasText: 'order 17 is paid' }).waitFor();
    assert.equal(await page.title(), 'orders/eu · Pollywog');
    await publish('orders/eu', '<b>18</b>', '?event=payment');
    await publish('orders/eu', '{"order":19}', '', 'application/json');
    await page.locator('#messages .data', { hasText: '{\n  "order": 19\n}' }).waitFor();
    const shown = await page.locator('#messages .data').allTextContents();
    assert.deepEqual(shown, ['{\n  "order": 19\n}', '<b>18</b>', 'order 17 is paid']);
    assert.equal(await page.locator('#messages .about').nth(1).textContent(), 'payment');
    // The time of a message that was kept is not known.
    const times = await page.locator('#messages time').allTextContents();
    assert.deepEqual(
      times.map(time => time === 'earlier'),
      [false, false, true],
    );
    assert.equal(await page.locator('#state').textContent(), 'live');
    assert.deepEqual(faults, []);
    const picture = process.env['CHANNEL_PICTURE'];
    if (picture !== undefined) await page.screenshot({ path: picture });
    // An id of another server: the messages after it are gone.
    await page.goto(`http://127.0.0.1:${port}/channels/orders%2Feu?after=another-1`);
    await page.locator('#messages .gap', { hasText: 'orders/eu are missing' }).waitFor();
  });

  test('the page of a channel that a rule refuses says why, and does not try again', async t => {
    const { port } = await startServer(t, '--allow', '/channels/orders: subscribe=nobody');
    const browser = await launchBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage();
    let attempts = 0;
    page.on('websocket', () => attempts++);
    await page.clock.install();
    await page.goto(`http://127.0.0.1:${port}/channels/orders`);
    await page.locator('#state.refused', { hasText: 'you may not subscribe to this channel' }).waitFor();
    await page.clock.runFor(60_000);
    assert.equal(attempts, 1);
  });

  test('the page of a channel says that the server refuses pages of its origin', async t => {
    const { port } = await startServer(t, '--origin', 'https://example.com');
    const browser = await launchBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage();
    for (const path of ['/channels/orders', '/channels?c=orders&c=news']) {
      await page.goto(`http://127.0.0.1:${port}${path}`);
      await page.locator('#state.refused', { hasText: 'pages of this origin may not connect' }).waitFor();
    }
  });

  test('the page without a channel asks for one', async t => {
    const { port, publish } = await startServer(t);
    const browser = await launchBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${port}/channels`);
    await page.getByLabel('Channel').fill('orders & more');
    await page.getByRole('button', { name: 'Watch' }).click();
    await page.locator('#state.live').waitFor();
    await publish('orders & more', 'paid');
    await page.locator('#messages .data', { hasText: 'paid' }).waitFor();
  });

  test('an EventSource that is cut off resumes by itself, without a loss and without a duplicate', async t => {
    const { port, publish, channels } = await startChannels(t);
    const browser = await launchBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${port}/`);
    await page.evaluate(`
      globalThis.received = [];
      globalThis.opened = 0;
      const source = new EventSource('/channels/orders');
      source.onopen = () => opened++;
      source.onmessage = event => received.push(event.data);
      source.addEventListener('gap', event => received.push('gap'));`);
    const expected: string[] = [];
    for (let round = 1; round <= 3; round++) {
      await page.waitForFunction(`opened === ${round}`);
      // The first round is cut off before any message.
      for (let count = 0; count < round; count++) {
        const text = `${round}-${count}`;
        if (round > 1) {
          await publish('orders', text);
          expected.push(text);
        }
      }
      for (const { connection } of channels.subscribers.values())
        connection.wire.close(connection, 1001, 'cut');
      await publish('orders', `between ${round}`);
      expected.push(`between ${round}`);
    }
    await page.waitForFunction(`received.length === ${expected.length}`);
    assert.deepEqual(await page.evaluate('received'), expected);
  });
});
