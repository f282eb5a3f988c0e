/**
 * The pages of the README and the manual, and clients without the library, across a reload and across `kill -9`: whatever was
 * published before, meanwhile and afterwards arrives once, in order.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { Page } from 'playwright-core';
import {
  exampleCode,
  newWorkshop,
  runLines,
  runProgram,
  runShell,
  type Workshop,
} from '../manual/examples.ts';
import { browserOfSuite, openSite } from '../support/browser.ts';
import { openEvents, pollChannel } from '../support/channelClients.ts';

/** Ends a case that hangs; no measure of speed. */
const patience = { timeout: 120_000 };

const [tokenLine = '', startLine = '', curlLine = ''] = exampleCode('README', 'sh /channels/orders').split(
  '\n',
);

const php = `<?php
$header = 'Authorization: Bearer ' . trim(file_get_contents('publish-token')) . "\\r\\nContent-Type: application/x-www-form-urlencoded";
$content = http_build_query(['data' => 'TEXT']);
$request = ['method' => 'POST', 'header' => $header, 'content' => $content];
echo file_get_contents('http://localhost:8080/channels/orders', false, stream_context_create(['http' => $request]));`;

const python = `
import urllib.request
fields = {'Authorization': 'Bearer ' + open('publish-token').read().strip()}
request = urllib.request.Request('http://localhost:8080/channels/orders', b'TEXT', fields)
print(urllib.request.urlopen(request).read().decode())`;

/** Ways to publish the text TEXT. */
const publishers: Readonly<Record<string, (workshop: Workshop, text: string) => Promise<string>>> = {
  curl: (workshop, text) => runLines(workshop, curlLine.replace('order 17 is paid', text)),
  PHP: (workshop, text) =>
    runProgram(workshop, ['php', '-r', filledIn(workshop, php.replace('<?php', ''), text)]),
  Python: (workshop, text) =>
    runProgram(workshop, ['/usr/bin/python3', '-c', filledIn(workshop, python, text)]),
  'a command': (workshop, text) => runLines(workshop, `pollywog publish orders '${text}' --json`),
};

function filledIn({ server }: Workshop, code: string, text: string): string {
  return code.replace('localhost:8080', `127.0.0.1:${server!.port}`).replace('TEXT', text);
}

/** The server of the README, and all texts published to it. */
async function startServer(t: TestContext) {
  const workshop = newWorkshop();
  await runShell(t, workshop, `${tokenLine}\n${startLine}`);
  const published: string[] = [];
  return {
    workshop,
    published,
    port: workshop.server!.port,
    /** Publishes in every way. */
    async publish(when: string): Promise<void> {
      for (const [name, run] of Object.entries(publishers)) {
        const text = `${when} by ${name}`;
        assert.match(await run(workshop, text), /"id":"[a-z\d]{8}-\d+"/, name);
        published.push(text);
      }
    },
    async killAndRestart(): Promise<void> {
      await workshop.server!.kill();
      await runShell(t, workshop, startLine);
    },
    async untilSubscribers(count: number): Promise<void> {
      for (;;) {
        const rows = JSON.parse(await runLines(workshop, 'pollywog channels --json')) as Record<
          string,
          number
        >[];
        const orders = rows.find(({ name }) => String(name) === 'orders');
        if (orders !== undefined && orders['websocket']! + orders['eventsource']! + orders['poll']! === count)
          return;
      }
    },
  };
}

describe('a server that is killed and started again', () => {
  const browser = browserOfSuite();

  const openSubscriber = (t: TestContext, html: string, serverPort: number): Promise<Page> =>
    openSite(t, browser(), html.replaceAll('localhost:8080', `127.0.0.1:${serverPort}`));

  /** Waits for this number of texts, and compares all of them. */
  async function untilShown(page: Page, where: string, expected: readonly string[]): Promise<void> {
    const shown = () =>
      page.evaluate(
        selector =>
          [...document.querySelector(selector)!.childNodes].map(({ textContent }) => textContent!.trim()),
        where,
      );
    const texts = async () => (await shown()).filter(text => text.includes(' by '));
    let last: string[] = [];
    do last = await texts();
    while (last.length < expected.length);
    assert.deepEqual(last, expected);
  }

  test("the README's page shows each message of every publisher once, in order", patience, async t => {
    const { port, published, publish, killAndRestart, untilSubscribers } = await startServer(t);
    const page = await openSubscriber(t, exampleCode('README', 'html pollywog.js'), port);
    await untilSubscribers(1);
    await publish('before the reload');
    await untilShown(page, 'body', published);
    await page.reload();
    await untilSubscribers(1);
    const fromHere = published.length;
    await publish('before the kill');
    await killAndRestart();
    await publish('after the kill');
    await untilShown(page, 'body', published.slice(fromHere));
  });

  test("the manual's page with the newest messages shows them again after a reload", patience, async t => {
    const { port, published, publish, killAndRestart } = await startServer(t);
    const html = exampleCode('channels', 'html last=20')
      .replace("'/pollywog.js'", "'http://localhost:8080/pollywog.js'")
      .replace("fetch('", "fetch('http://localhost:8080")
      .replace('after: last', "after: last, url: 'http://localhost:8080'");
    const page = await openSubscriber(t, html, port);
    await publish('before the kill');
    await killAndRestart();
    await publish('after the kill');
    await untilShown(page, '#list', published);
    await page.reload();
    await untilShown(page, '#list', published);
    await killAndRestart();
    await publish('after the second kill');
    await untilShown(page, '#list', published);
  });

  test(
    'EventSource, an event stream outside of browsers, and polls receive each message once, in order',
    patience,
    async t => {
      const { port, published, publish, killAndRestart, untilSubscribers } = await startServer(t);
      const eventSource = await openSubscriber(
        t,
        `<ul></ul><script>
        const source = new EventSource('http://localhost:8080/channels/orders');
        const show = data => document.querySelector('ul').append(Object.assign(document.createElement('li'), { textContent: data }));
        source.onmessage = ({ data }) => show(data);
        source.addEventListener('gap', () => show('a gap, reported by the server'));
      </script>`,
        port,
      );
      await untilSubscribers(1);
      const { last } = await pollChannel(port, '/channels/orders?last=0');
      const total = 3 * Object.keys(publishers).length;
      const following = Promise.all([followStream(port, last, total), followPolls(port, last, total)]);
      await untilSubscribers(3);
      await publish('before the kill');
      await killAndRestart();
      await publish('after the kill');
      await killAndRestart();
      await publish('after the second kill');
      await untilShown(eventSource, 'ul', published);
      for (const texts of await following) assert.deepEqual(texts, published);
    },
  );
});

/** Reads streams as EventSource does. @returns the first texts, with gaps */
async function followStream(port: number, start: string, count: number): Promise<string[]> {
  const texts: string[] = [];
  let id = start;
  while (texts.length < count) {
    const stream = await openEvents(port, '/channels/orders', { 'Last-Event-ID': id }).catch(() => undefined);
    if (stream === undefined) continue;
    while (texts.length < count) {
      const event = await stream.next().catch(() => undefined);
      if (event === undefined) break;
      if (event.data !== undefined) texts.push(event.event ?? event.data);
      id = event.id ?? id;
    }
    stream.socket.destroy();
  }
  return texts;
}

/** @returns the first texts, with gaps */
async function followPolls(port: number, start: string, count: number): Promise<string[]> {
  const texts: string[] = [];
  let cursor = start;
  while (texts.length < count) {
    const answer = await pollChannel(port, `/channels/orders?after=${cursor}`).catch(() => undefined);
    if (answer === undefined) continue;
    if (answer.gap !== undefined) texts.push('gap');
    for (const { data } of answer.messages) texts.push(String(data));
    cursor = answer.last;
  }
  return texts;
}
