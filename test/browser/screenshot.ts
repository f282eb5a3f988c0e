/** `make screenshot`: takes the README's pictures, of the chat and of the inspector, with the browser that the tests use. */
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { launchBrowser } from '../support/browser.ts';
import { startServerWith } from '../support/serverProcess.ts';
import { runScript } from '../support/shell.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const pictureOf = (name: string) =>
  fileURLToPath(new URL(`../../../src/manual/${name}.png`, import.meta.url));
const size = { width: 860, height: 630 };

const talk: readonly [nick: string, text: string][] = [
  ['Linus', 'The new version is live, and nobody was disconnected.'],
  ['Ada', 'I saw it: my connection is two days old'],
  ['Grace', 'And if the server is killed?'],
  ['Linus', 'The page reconnects by itself. What you typed meanwhile is sent once, and in order.'],
  ['Ada', 'How it works: https://www.rfc-editor.org/rfc/rfc6455'],
];

async function enter(browser: Browser, port: number, nick: string): Promise<Page> {
  const page = await (await browser.newContext({ viewport: size })).newPage();
  await page.goto(`http://127.0.0.1:${port}/?room=pond&nick=${nick}`);
  await page.locator('#chat').waitFor();
  return page;
}

/** A connection in the inspector, with an opened frame. */
async function showInspector(browser: Browser, port: number): Promise<void> {
  const client = new WebSocket(`ws://127.0.0.1:${port}/echo`, { perMessageDeflate: false });
  await once(client, 'open');
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(`http://127.0.0.1:${port}/inspect`);
  await page.locator('#connection-list .row', { hasText: 'echo' }).click();
  await page.locator('#states .lit', { hasText: 'OPEN' }).waitFor();
  const rows = page.locator('#frame-list .row');
  for (const text of ['Hello', 'How do WebSockets really work?', 'Every bit has a name here.']) {
    client.send(text);
    await rows.filter({ hasText: text }).nth(1).waitFor();
  }
  client.ping('alive?');
  await rows.filter({ hasText: 'pong' }).waitFor();
  await rows.filter({ hasText: 'client →' }).first().click();
  await page.locator('#bytes .choice-row.f-mask').waitFor();
  await page.locator('#bytes .cell.f-mask').click();
  await page.screenshot({ path: pictureOf('inspector') });
  client.terminate();
}

const control = join(temporaryFolder(), 'control.sock');
const words = ['--inspect', '-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--config', 'none'];
const server = await startServerWith([...words, '--control', control]);
const browser = await launchBrowser();
try {
  const pages = new Map<string, Page>();
  for (const nick of ['Ada', 'Grace', 'Linus', 'Margaret']) {
    pages.set(nick, await enter(browser, server.port, nick));
  }
  const ada = pages.get('Ada')!;
  for (const [nick, text] of talk) {
    const page = pages.get(nick)!;
    await page.getByLabel('Message').fill(text);
    await page.getByLabel('Message').press('Enter');
    await ada.locator('#lines .text', { hasText: text }).waitFor();
  }
  await runScript('pollywog publish pond "backup finished: 412 MB"', control);
  await ada.locator('#lines .text', { hasText: 'backup finished' }).waitFor();
  await ada.getByLabel('Message').fill('Then I can go home');
  await ada.screenshot({ path: pictureOf('chat') });
  await showInspector(browser, server.port);
} finally {
  await browser.close();
  await server.kill();
}
