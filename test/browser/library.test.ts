/** The client library in Chromium: blocked transports, lost networks, a killed server, and several tabs. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launchBrowser } from '../support/browser.ts';
import { type ServerProcess, serverScript, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

/** Ends a case that hangs; no measure of speed. */
const patience = { timeout: 90_000 };

const token = 'correct-horse.battery~staple_0123456789';

type Subscribe = typeof import('../../src/web/library/pollywog.ts').subscribe;

declare global {
  /** In a page: what the subscription has received; a gap as `gap: CHANNELS`. */
  var seen: unknown[];
  var states: string[];
  var subscribe: Subscribe;
}

/** A proxy that answers requests it does not like with 403, as some networks do. */
async function startProxy(target: () => number) {
  const state = { blocked: /^$/, isCut: false };
  const clients = new Set<Socket>();
  const server = createServer(client => {
    if (state.isCut) {
      client.destroy();
      return;
    }
    clients.add(client);
    const upstream = connect({ port: target(), host: '127.0.0.1' });
    client.on('error', () => upstream.destroy());
    client.on('close', () => {
      clients.delete(client);
      upstream.destroy();
    });
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    upstream.pipe(client);
    client.on('data', bytes => {
      if (state.blocked.test(bytes.toString('latin1'))) {
        client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      } else upstream.write(bytes);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  /** The network is gone, or back. */
  const cut = (isCut: boolean) => {
    state.isCut = isCut;
    if (isCut) for (const client of clients) client.destroy();
  };
  return { state, server, cut, port: (server.address() as AddressInfo).port };
}

describe('the client library in Chromium', () => {
  const folder = temporaryFolder();
  const control = join(folder, 'control.sock');
  const tokenFile = join(folder, 'publish-token');
  writeFileSync(tokenFile, token, { mode: 0o600 });
  let browser: Browser;
  let server: ServerProcess;
  let proxy: Awaited<ReturnType<typeof startProxy>>;

  const start = (port: number, ...options: string[]) =>
    startServerWith([
      ...['-p', `${port}`, '--host', '127.0.0.1', '--log-format', 'json', '--control', control],
      ...['--publish-token', tokenFile, ...options],
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
    proxy.state.blocked = /^$/;
    proxy.cut(false);
    for (const context of browser.contexts()) await context.close();
  });

  /** Opens the server's page and subscribes in it. */
  async function open(
    context: BrowserContext,
    port: number,
    channels: string[],
    shared = false,
  ): Promise<Page> {
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${port}/healthz`);
    // As a string, which the compiler does not rewrite.
    await page.evaluate("import('/pollywog.js').then(library => Object.assign(globalThis, library))");
    await page.evaluate(
      ([names, isShared]) => {
        globalThis.seen = [];
        globalThis.states = [];
        globalThis.subscribe(
          names,
          {
            message: ({ data }) => globalThis.seen.push(data),
            gap: lost => globalThis.seen.push(`gap: ${lost}`),
            state: (state, detail) => globalThis.states.push(`${state} ${detail}`.trim()),
          },
          { shared: isShared },
        );
      },
      [channels, shared] as const,
    );
    return page;
  }

  async function publish(channel: string, data: string): Promise<void> {
    const response = await fetch(`http://127.0.0.1:${server.port}/channels/${channel}`, {
      method: 'POST',
      body: data,
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'text/plain' },
    });
    assert.equal(response.status, 200, await response.text());
  }

  const untilState = (page: Page, state: string) =>
    page.waitForFunction(wanted => globalThis.states.at(-1) === wanted, state);

  /** Waits for so many messages, and compares all of them. */
  async function untilSeen(page: Page, ...expected: unknown[]): Promise<void> {
    const seen = () => page.evaluate(() => globalThis.seen);
    await page
      .waitForFunction(count => globalThis.seen.length >= count, expected.length)
      .catch(async error => assert.fail(`${error}: ${JSON.stringify(await seen())}`));
    assert.deepEqual(await seen(), expected);
  }

  /** The number of WebSockets that subscribe to channels. */
  async function socketsAtServer(): Promise<number> {
    const words = [serverScript, 'list', '--control', control];
    const { stdout } = await promisify(execFile)(process.execPath, words);
    return stdout.match(/ websocket +channels /g)?.length ?? 0;
  }

  test('a page receives what is published, by WebSocket', patience, async () => {
    const page = await open(await browser.newContext(), server.port, ['orders', 'user-17']);
    await untilState(page, 'open websocket');
    await publish('orders', 'paid');
    await publish('other', 'not ours');
    await publish('user-17', 'hello');
    await untilSeen(page, 'paid', 'hello');
  });

  for (const [name, transport, blocked] of [
    ['WebSockets are blocked', 'eventsource', /^Upgrade: websocket/im],
    [
      'WebSockets and event streams are blocked',
      'polling',
      /^Upgrade: websocket|^Accept: text\/event-stream/im,
    ],
  ] as const) {
    test(`where ${name}, messages arrive by ${transport}`, patience, async () => {
      proxy.state.blocked = blocked;
      const page = await open(await browser.newContext(), proxy.port, ['orders']);
      await untilState(page, `open ${transport}`);
      for (const data of ['1', '2', '3']) await publish('orders', data);
      await untilSeen(page, '1', '2', '3');
      assert.deepEqual(await page.evaluate(() => globalThis.states), ['connecting', `open ${transport}`]);
    });
  }

  for (const transport of ['websocket', 'eventsource', 'polling']) {
    test(`over ${transport}, a page that was offline gets what it missed`, patience, async () => {
      if (transport !== 'websocket') proxy.state.blocked = /^Upgrade: websocket/im;
      if (transport === 'polling') proxy.state.blocked = /^Upgrade: websocket|^Accept: text\/event-stream/im;
      const context = await browser.newContext();
      const page = await open(context, proxy.port, ['orders']);
      await untilState(page, `open ${transport}`);
      await publish('orders', 'before');
      await untilSeen(page, 'before');
      await context.setOffline(true);
      proxy.cut(true);
      await untilState(page, 'connecting');
      await publish('orders', 'meanwhile 1');
      await publish('orders', 'meanwhile 2');
      proxy.cut(false);
      await context.setOffline(false);
      await publish('orders', 'after');
      await untilSeen(page, 'before', 'meanwhile 1', 'meanwhile 2', 'after');
      await untilState(page, `open ${transport}`);
    });
  }

  test(
    'a server that is killed and has no log is a gap, and what it publishes later arrives',
    patience,
    async () => {
      const context = await browser.newContext();
      const pages = [await open(context, proxy.port, ['orders'])];
      await untilState(pages[0]!, 'open websocket');
      proxy.state.blocked = /^Upgrade: websocket/im;
      pages.push(await open(await browser.newContext(), proxy.port, ['orders']));
      await untilState(pages[1]!, 'open eventsource');
      await publish('orders', 'before');
      for (const page of pages) await untilSeen(page, 'before');
      proxy.state.blocked = /^$/;
      const { port } = server;
      await server.kill();
      for (const page of pages) await untilState(page, 'connecting');
      server = await start(port);
      await publish('orders', 'after the start');
      for (const page of pages) {
        await untilSeen(page, 'before', 'gap: orders', 'after the start');
        await page.waitForFunction(() => globalThis.states.at(-1)!.startsWith('open '));
      }
      await publish('orders', 'and later');
      for (const page of pages)
        await untilSeen(page, 'before', 'gap: orders', 'after the start', 'and later');
    },
  );

  test('a server that is killed and has a log loses nothing, over any transport', patience, async () => {
    const options = ['--data', join(folder, 'data')];
    await server.kill();
    server = await start(0, ...options);
    const pages: Page[] = [];
    for (const [transport, blocked] of [
      ['websocket', /^$/],
      ['eventsource', /^Upgrade: websocket/im],
      ['polling', /^Upgrade: websocket|^Accept: text\/event-stream/im],
    ] as const) {
      proxy.state.blocked = blocked;
      const page = await open(await browser.newContext(), proxy.port, ['orders']);
      await untilState(page, `open ${transport}`);
      pages.push(page);
    }
    const published: string[] = [];
    const say = async (data: string) => {
      await publish('orders', data);
      published.push(data);
    };
    const restart = async () => {
      const { port } = server;
      await server.kill();
      server = await start(port, ...options);
    };
    const untilAllSeen = () => Promise.all(pages.map(page => untilSeen(page, ...published)));
    await say('before');
    await untilAllSeen();
    // The pages cannot receive the message before the kill.
    proxy.cut(true);
    await say('unseen before the kill');
    await restart();
    await say('unseen after it');
    proxy.cut(false);
    await untilAllSeen();
    for (let kill = 1; kill <= 3; kill++) {
      await say(`just before kill ${kill}`);
      await restart();
      await say(`just after kill ${kill}`);
    }
    await untilAllSeen();
  });

  test('three tabs have one connection, and another tab takes over without a loss', patience, async () => {
    const context = await browser.newContext();
    const tabs: Page[] = [];
    for (const channels of [['orders'], ['orders'], ['news']]) {
      tabs.push(await open(context, server.port, channels, true));
      await untilState(tabs.at(-1)!, 'open websocket');
    }
    assert.equal(await socketsAtServer(), 1);
    await publish('orders', '1');
    await publish('news', '2');
    const [first, second, third] = tabs as [Page, Page, Page];
    await untilSeen(first, '1');
    await untilSeen(second, '1');
    await untilSeen(third, '2');
    const closing = first.close();
    await publish('orders', '3');
    await publish('news', '4');
    await closing;
    await untilSeen(second, '1', '3');
    await publish('orders', '5');
    await untilSeen(second, '1', '3', '5');
    await untilSeen(third, '2', '4');
    assert.equal(await socketsAtServer(), 1);
  });

  test('a subscription that the server refuses ends with the reason', patience, async () => {
    const page = await open(await browser.newContext(), server.port, ['orders//17']);
    await page.waitForFunction(() =>
      globalThis.states.at(-1)!.startsWith('closed 400 the parts of a channel'),
    );
  });
});
