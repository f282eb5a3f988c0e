/**
 * Channels through nginx and HAProxy, with every tenth response and each stream broken off, and with a server that is killed
 * meanwhile: pages with the library, with EventSource and with polls show each message once, in order.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { Page } from 'playwright-core';
import { exampleCode } from '../manual/examples.ts';
import { browserOfSuite, openSite } from '../support/browser.ts';
import { startLossyProxy } from '../support/lossyProxy.ts';
import { ask } from '../support/pollClient.ts';
import { type FrontProxy, haproxy, nginx, startProxy } from '../support/proxies.ts';
import { newRandom } from '../support/random.ts';
import { startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const rounds = 6;
const messagesARound = 15;
/** The most bytes of a stream that pass: those of about 20 messages. */
const longestStream = 2500;
const token = 'a-token-of-the-test-of-losses';

declare global {
  /** In a page: what its subscriber has received. */
  var received: unknown[];
}

/** A subscription with the library, which begins with this transport, and does not wait long when its connection is lost. */
const librarySubscriber = (transport: number) => `
  sessionStorage.pollywog = ${transport};
  let isConnecting = true;
  const { subscribe } = await import('http://localhost:8080/pollywog.js').catch(() => location.reload());
  subscribe('orders', {
    message: ({ data }) => received.push(data),
    gap: () => received.push('gap'),
    state: state => { isConnecting = state === 'connecting'; },
  }, { url: 'http://localhost:8080', after: START });
  setInterval(() => isConnecting && dispatchEvent(new Event('online')), 300);`;

const subscribers: Readonly<Record<string, string>> = {
  'the library by WebSocket': librarySubscriber(0),
  'the library by event streams': librarySubscriber(1),
  'the library by polls': librarySubscriber(2),
  EventSource: exampleCode('channels', 'js new EventSource(`')
    .replace(/^let .*\n/, 'let last = START;\n')
    .replace('console.log(data)', 'received.push(data)')
    .replace('source.onerror', "source.addEventListener('gap', () => received.push('gap'));\nsource.onerror")
    .replace('1000', '50'),
  polls: `
  for (let last = START; ; ) {
    try {
      const answer = await (await fetch('http://localhost:8080/channels/orders?after=' + last)).json();
      if (answer.gap) received.push('gap');
      for (const { data } of answer.messages) received.push(data);
      last = answer.last;
    } catch {}
  }`,
};

describe('with every tenth response and each stream broken off, every page shows each message once, in order', () => {
  const browser = browserOfSuite();

  for (const [proxy, mark] of [
    [nginx, 'nginx map'],
    [haproxy, 'haproxy frontend'],
  ] as const) {
    for (const isBehind of [true, false]) {
      const place = isBehind ? 'between it and the server' : 'between the pages and it';
      test(`through ${proxy.name}, with the losses ${place}`, { timeout: 180_000 }, t =>
        runThrough(t, proxy, exampleCode('proxy', mark), isBehind),
      );
    }
  }

  async function runThrough(
    t: TestContext,
    proxy: FrontProxy,
    recipe: string,
    isBehind: boolean,
  ): Promise<void> {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'token'), token, { mode: 0o600 });
    const start = (port: number) =>
      startServerWith(
        [
          ...['-p', `${port}`, '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'],
          ...['--data', join(folder, 'data'), '--rooms', 'none', '--trust-proxy', '127.0.0.1'],
          ...['--publish-token', join(folder, 'token')],
        ],
        { test: t },
      );
    let server = await start(0);
    const { port: serverPort } = server;
    const startLossy = async (target: number) => {
      const lossy = await startLossyProxy(target, newRandom(1), longestStream);
      t.after(() => lossy.close());
      return lossy;
    };
    const behind = isBehind ? await startLossy(serverPort) : undefined;
    const front = await startProxy(t, proxy, recipe, behind?.port ?? serverPort, '/healthz');
    const lossy = behind ?? (await startLossy(front));
    const port = isBehind ? front : lossy.port;
    const begin = await ask(serverPort, 'GET', '/channels/orders?last=0');
    const { last } = JSON.parse(begin.body) as { last: string };
    const pages = await Promise.all(
      Object.entries(subscribers).map(async ([name, script]) => {
        const page = await openSubscriber(t, script.replace('START', JSON.stringify(last)), port);
        return [name, page] as const;
      }),
    );
    const published: string[] = [];
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < messagesARound; i++) {
        const text = `message ${i} of round ${round}`;
        await publish(port, text);
        published.push(text);
      }
      if (round === rounds / 2) {
        await server.kill();
        server = await start(serverPort);
      }
      await Promise.all(pages.map(([name, page]) => untilReceived(page, published, name)));
    }
    t.diagnostic(JSON.stringify(lossy.counts));
    assert.ok(lossy.counts.broken > 20);
  }

  function openSubscriber(t: TestContext, script: string, port: number): Promise<Page> {
    const code = script.replaceAll('localhost:8080', `127.0.0.1:${port}`);
    const html = `<script type="module">globalThis.received = [];\n${code}</script>`;
    return openSite(t, browser(), html, 'commit');
  }

  async function untilReceived(page: Page, expected: readonly string[], name: string): Promise<void> {
    await page
      .waitForFunction(count => globalThis.received?.length >= count, expected.length, { timeout: 60_000 })
      .catch(() => {});
    assert.deepEqual(await page.evaluate(() => globalThis.received), expected, name);
  }
});

/** Publishes once, however often the answer is lost. */
async function publish(port: number, text: string): Promise<void> {
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'text/plain', 'Idempotency-Key': text };
  for (;;) {
    const answer = await ask(port, 'POST', '/channels/orders', { headers, body: text }).catch(
      () => undefined,
    );
    if (answer?.status === 200 && answer.isWhole) return;
  }
}
