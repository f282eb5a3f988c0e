/** The chat page in Chromium with blocked WebSockets: it uses long polling, and says so. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launchBrowser } from '../support/browser.ts';
import { firstExample } from '../support/documents.ts';
import { type ServerProcess, startServerWith } from '../support/serverProcess.ts';
import { runScript } from '../support/shell.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

/** Ends a case that hangs; no measure of speed. */
const patience = { timeout: 60_000 };

/** The browser's console message about a failed WebSocket or request. */
const blocked = /^WebSocket connection to|^Failed to load resource: (net::ERR_|.*status of 403)/;

const fallback = 'Connected by long polling.';

/** A proxy that, while `refuses` is set, drops handshakes, as some networks do. */
async function startProxy(target: () => number) {
  const state = { refuses: true };
  const server: Server = createServer(client => {
    const upstream = connect({ port: target(), host: '127.0.0.1' });
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    upstream.pipe(client);
    client.once('data', bytes => {
      if (state.refuses && /^Upgrade: websocket/im.test(bytes.toString('latin1'))) {
        client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      } else {
        upstream.write(bytes);
        client.pipe(upstream);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { state, server, port: (server.address() as AddressInfo).port };
}

describe('the chat page without WebSockets', () => {
  const screenshots = mkdtempSync(join(tmpdir(), 'pollywog-polling-'));
  const data = temporaryFolder();
  const control = join(data, 'control.sock');
  const complaints: string[] = [];
  let browser: Browser;
  let server: ServerProcess;
  let proxy: Awaited<ReturnType<typeof startProxy>>;

  const start = (port: number) =>
    startServerWith([
      '-p',
      `${port}`,
      '--host',
      '127.0.0.1',
      '--log-format',
      'json',
      '--data',
      data,
      '--control',
      control,
    ]);

  before(
    async () => {
      browser = await launchBrowser();
      server = await start(0);
      proxy = await startProxy(() => server.port);
    },
    { timeout: 15 * 60_000 },
  );
  after(async () => {
    await browser?.close();
    proxy?.server.close();
    await server?.kill();
  });
  afterEach(async () => {
    proxy.state.refuses = true;
    for (const context of browser.contexts()) await context.close();
  });

  /** @param block makes WebSockets fail */
  async function enter(
    nick: string,
    room: string,
    port: number,
    block?: (context: BrowserContext) => Promise<unknown>,
  ): Promise<Page> {
    const context = await browser.newContext();
    await block?.(context);
    const page = await context.newPage();
    page.on('console', message => {
      if (!blocked.test(message.text())) complaints.push(message.text());
    });
    page.on('pageerror', error => complaints.push(error.message));
    await page.goto(`http://127.0.0.1:${port}/?room=${room}&nick=${nick}`);
    await page.locator('#chat').waitFor();
    return page;
  }

  async function say(page: Page, text: string): Promise<void> {
    await page.getByLabel('Message').fill(text);
    await page.getByLabel('Message').press('Enter');
  }

  async function untilLines(page: Page, ...texts: string[]): Promise<void> {
    const shown = () => page.locator('#lines .text').allTextContents();
    await page
      .waitForFunction(
        count =>
          document.querySelectorAll('#lines li').length >= count &&
          document.querySelector('#lines .waiting') === null,
        texts.length,
      )
      .catch(async error => assert.fail(`${error}: ${JSON.stringify(await shown())}`));
    assert.deepEqual(await shown(), texts);
  }

  const status = (page: Page) => page.locator('#chat .status');

  test('talks with clients that have WebSockets, and shows how it is connected', patience, async () => {
    const ada = await enter('Ada', 'lobby', proxy.port);
    const bo = await enter('Bo', 'lobby', server.port);
    await status(ada).getByText(fallback).waitFor();
    assert.equal(await status(bo).isVisible(), false);
    await say(ada, 'by poll 👋');
    await untilLines(bo, 'by poll 👋');
    await say(bo, 'by socket');
    await untilLines(ada, 'by poll 👋', 'by socket');
    assert.deepEqual(await ada.locator('#roster .nick').allTextContents(), ['Ada', 'Bo']);
    await ada.screenshot({ path: join(screenshots, 'polling.png') });
    await bo.screenshot({ path: join(screenshots, 'websocket.png') });
    await ada.setViewportSize({ width: 390, height: 844 });
    await ada.screenshot({ path: join(screenshots, 'polling-phone.png') });
    await ada.close();
    await bo.waitForFunction(() => document.querySelectorAll('#roster .nick').length === 1);
  });

  test('shows the manual’s messages to everyone, to one user and to a room', patience, async () => {
    const ada = await enter('Ada', 'pond', proxy.port);
    await status(ada).getByText(fallback).waitFor();
    const told = await runScript(firstExample('commands', 'sh'), control);
    assert.match(told, /sent: 1\nsent: 1\nsent: 1\n/);
    const texts = ada.locator('#lines .server .text');
    await texts.nth(2).waitFor();
    assert.deepEqual((await texts.allTextContents()).slice(0, 2), [
      'back in five minutes',
      'your tea is ready',
    ]);
    assert.match((await texts.nth(2).textContent()) ?? '', /20\d\d/);
    await ada.reload();
    await status(ada).getByText(fallback).waitFor();
    await texts.first().waitFor();
    assert.match((await texts.allTextContents()).join(), /^[^,]*20\d\d$/, 'what the room remembers');
  });

  const blocks: [string, (context: BrowserContext) => Promise<unknown>][] = [
    ['it opens, and nothing gets through', context => context.routeWebSocket(/./, socket => socket.close())],
    ['there is none', context => context.addInitScript('delete globalThis.WebSocket')],
    ['it never opens', context => context.addInitScript(neverOpens)],
  ];
  for (const [how, block] of blocks) {
    test(`however a WebSocket fails: ${how}`, patience, async () => {
      const page = await enter('Ada', 'ways', server.port, block);
      await status(page).getByText(fallback).waitFor();
      await say(page, how);
      await page.locator('#lines .text').getByText(how).waitFor();
      await page.waitForFunction(() => document.querySelector('#lines .waiting') === null);
    });
  }

  test('returns to the room after a reload and after a restart of the server', patience, async () => {
    const ada = await enter('Ada', 'back', proxy.port);
    await say(ada, 'before');
    await untilLines(ada, 'before');
    await ada.reload();
    await untilLines(ada, 'before');
    await status(ada).getByText(fallback).waitFor();
    await server.kill();
    await ada.getByRole('button', { name: 'Try now' }).waitFor();
    await say(ada, 'into the void');
    server = await start(server.port);
    await untilLines(ada, 'before', 'into the void');
    await status(ada).getByText(fallback).waitFor();
    assert.equal(await ada.locator('#roster .nick').count(), 1);
  });

  test('uses a WebSocket again after a reconnect that allows one', patience, async () => {
    const ada = await enter('Ada', 'again', proxy.port);
    await status(ada).getByText(fallback).waitFor();
    proxy.state.refuses = false;
    await server.kill();
    await ada.getByRole('button', { name: 'Try now' }).waitFor();
    server = await start(server.port);
    await status(ada).waitFor({ state: 'hidden' });
    await say(ada, 'by socket');
    await untilLines(ada, 'by socket');
    assert.equal(await status(ada).isVisible(), false);
  });

  test('an EventSource loses nothing across several streams', patience, async () => {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`http://127.0.0.1:${server.port}/`);
    const total = 3000;
    const { seqs, streams } = await page.evaluate(async count => {
      const { session } = await (await fetch('/poll/broadcast', { method: 'POST' })).json();
      const address = `/poll/s/${session}`;
      const events = new EventSource(address);
      const heard: number[] = [];
      let opened = 0;
      events.onopen = () => {
        opened++;
      };
      const all = new Promise(resolve => {
        events.onmessage = ({ data }) => heard.push(JSON.parse(data).seq) === count && resolve(undefined);
      });
      const text = 'x'.repeat(400);
      for (let said = 0; said < count; said += 100) {
        const body = `${JSON.stringify({ text })}\n`.repeat(100);
        const headers = { 'Content-Type': 'application/x-ndjson' };
        const answer = await fetch(`${address}?seq=${said + 1}`, { method: 'POST', headers, body });
        if (answer.status !== 200) throw new Error(await answer.text());
      }
      await all;
      events.close();
      return { seqs: heard, streams: opened };
    }, total);
    assert.deepEqual(
      seqs,
      Array.from({ length: total }, (_, index) => index + 1),
    );
    assert.ok(streams > 3, `${streams} streams`);
  });

  test('no script failed', t => {
    t.diagnostic(`screenshots are in ${screenshots}`);
    assert.deepEqual(complaints, []);
  });
});

/** Runs in the page. */
const neverOpens = `globalThis.WebSocket = class { close() {} send() {} };`;
