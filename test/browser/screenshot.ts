/** `make screenshot`: takes the README's picture of the chat, src/manual/chat.png, with the browser that the tests use. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser } from '../support/browser.ts';
import { startServerWith } from '../support/serverProcess.ts';
import { runScript } from '../support/shell.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const picture = fileURLToPath(new URL('../../../src/manual/chat.png', import.meta.url));
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

const control = join(temporaryFolder(), 'control.sock');
const words = ['-p', '0', '--host', '127.0.0.1', '--log-format', 'json', '--config', 'none'];
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
  await ada.screenshot({ path: picture });
} finally {
  await browser.close();
  await server.kill();
}
