/** A real browser, headless, that can reach only this machine. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, type TestContext } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';
import { findChromium } from './install.ts';

/** Starts a browser with a temporary profile. @throws Error that says what to install if there is no Chromium */
export async function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: findChromium(),
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-proxy-server',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
  });
}

/** Starts a browser for the tests of this suite, and closes it after them. @returns the browser, once the tests run */
export function browserOfSuite(): () => Browser {
  let browser: Browser | undefined;
  before(
    async () => {
      browser = await launchBrowser();
    },
    { timeout: 15 * 60_000 },
  );
  after(() => browser?.close());
  return () => browser!;
}

/** Opens HTML as the page of another site, which ends with the test. */
export async function openSite(
  t: TestContext,
  browser: Browser,
  html: string,
  waitUntil: 'load' | 'commit' = 'load',
): Promise<Page> {
  const site = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end(html);
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  t.after(() => site.close());
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`, { waitUntil });
  return page;
}

/** A WebSocket's `close` event in a page. */
export type Ending = [code: number, reason: string, wasClean: boolean];

/** A WebSocket in a page. */
export interface PageClient {
  readonly socket: WebSocket;
  /** Waits for the next message. @throws Error if the socket closes */
  next(): Promise<string | ArrayBuffer>;
  readonly closed: Promise<Ending>;
}

declare global {
  /** In a page of `openPage`: connects to the page's server and resolves when the socket is open or closed. */
  function dial(path: string, protocols?: string[]): Promise<PageClient>;
}

/** Opens the server's page, with `dial` added to it. */
export async function openPage(browser: Browser, port: number): Promise<Page> {
  const page = await browser.newPage();
  await page.addInitScript(installDial);
  const response = await page.goto(`http://127.0.0.1:${port}/`);
  if (response?.status() !== 200) throw new Error(`GET / was answered with ${response?.status()}`);
  return page;
}

/** Runs in the page, so it must not use anything of this file. */
function installDial(): void {
  globalThis.dial = async (path, protocols = []) => {
    const socket = new WebSocket(`ws://${location.host}${path}`, protocols);
    socket.binaryType = 'arraybuffer';
    const received: (string | ArrayBuffer)[] = [];
    let ending: Ending | undefined;
    let wake = () => {};
    const closed = new Promise<Ending>(resolve => {
      socket.addEventListener('close', ({ code, reason, wasClean }) => {
        ending = [code, reason, wasClean];
        resolve(ending);
        wake();
      });
    });
    socket.addEventListener('message', ({ data }) => {
      received.push(data);
      wake();
    });
    const opened = new Promise(resolve => socket.addEventListener('open', resolve));
    await Promise.race([opened, closed]);
    return {
      socket,
      closed,
      async next() {
        while (received.length === 0) {
          if (ending !== undefined) throw new Error(`closed instead: ${ending}`);
          await new Promise<void>(resolve => {
            wake = resolve;
          });
        }
        return received.shift()!;
      },
    };
  };
}
