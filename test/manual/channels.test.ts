import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import { launchBrowser } from '../support/browser.ts';
import { binary, connectMember, hearUntil, packetBytes } from '../support/chatClient.ts';
import { root } from '../support/documents.ts';
import {
  exampleCode,
  firstLine,
  newWorkshop,
  runLines,
  runProgram,
  runShell,
  testExamples,
  type Workshop,
} from './examples.ts';

async function startWithToken(t: TestContext): Promise<Workshop> {
  const workshop = newWorkshop();
  await runShell(t, workshop, exampleCode('channels', 'sh openssl').replace(/^curl.*\n/m, ''));
  return workshop;
}

/** @returns what the program printed, and the newest message of the channel `orders` without its id and time */
async function publishFrom(t: TestContext, code: string, file: string, ...program: string[]) {
  const workshop = await startWithToken(t);
  const here = code
    .replaceAll('localhost:8080', `127.0.0.1:${workshop.server?.port}`)
    .replaceAll('/etc/pollywog/', '');
  writeFileSync(join(workshop.folder, file), here);
  const printed = await runProgram(workshop, [...program, file]);
  return { printed, kept: await newest(workshop) };
}

async function newest(workshop: Workshop): Promise<object> {
  const [row] = JSON.parse(await runLines(workshop, 'pollywog history orders 1 --json')) as object[];
  const { id, time, ...others } = row as { id: string; time: string };
  assert.match(id, /^[a-z\d]{8}-\d+$/);
  assert.ok(!Number.isNaN(Date.parse(time)));
  return others;
}

testExamples('channels', {
  'sh openssl': async (t, code) => {
    const workshop = newWorkshop();
    const printed = await runShell(t, workshop, code.replace('curl', 'curl -s'));
    assert.match(printed, /^\{"id":"[a-z\d]+-1","subscribers":0\}\n$/);
    assert.deepEqual(await newest(workshop), { text: 'paid' });
  },
  'php <?php': async (t, code) => {
    const { printed, kept } = await publishFrom(t, code, 'example.php', 'php', '-d', 'display_errors=stderr');
    assert.equal(printed, '0 pages know');
    assert.deepEqual(kept, { data: { order: 17, state: 'paid' } });
  },
  'python import json': async (t, code) => {
    const { printed, kept } = await publishFrom(t, code, 'example.py', '/usr/bin/python3');
    assert.equal(printed, '0\n');
    assert.deepEqual(kept, { event: 'paid', data: { order: 17, state: 'paid' } });
  },
  'js Idempotency-Key': async (t, code) => {
    const { printed, kept } = await publishFrom(t, code, 'example.mjs', process.execPath);
    assert.equal(printed, '200 0\n');
    assert.deepEqual(kept, { text: 'order 17 is paid' });
  },
  'perl HTTP::Tiny': async (t, code) => {
    const { printed, kept } = await publishFrom(t, code, 'example.pl', 'perl', '-w');
    assert.match(printed, /^\{"id":"[a-z\d]+-1","subscribers":0\}\n$/);
    assert.deepEqual(kept, { text: 'order 17 is paid' });
  },
  'sh pollywog channels': async (t, code) => {
    const workshop = await startWithToken(t);
    const printed = await runShell(t, workshop, code);
    assert.match(
      printed,
      /^sent: 0\nid: \S+\nsent: 0\nid: \S+\nname +websocket .*\nnews +0 +0 +0 +0 +1 .*\norders +0 +0 +0 +0 +1 /,
    );
    assert.match(
      printed,
      /\[\{"id":"\S+","time":"\S+","event":"paid","data":\{"order":17\}\}\]\nforgotten: 1\n$/,
    );
  },

  'js new WebSocket': subscribeInPage,
  "js new EventSource('": subscribeInPage,
  'js new EventSource(`': subscribeInPage,
  'js for (;;)': subscribeInPage,
  'sh last=1': async (t, code) => {
    const workshop = await startWithToken(t);
    await publishTo(workshop, 'orders', 'paid');
    const [poll = '', stream = ''] = code
      .replaceAll('localhost:8080', `127.0.0.1:${workshop.server!.port}`)
      .split('\n');
    assert.match(
      await runLines(workshop, poll),
      /^\{"messages":\[\{"id":"(\S+)","channel":"orders","data":"paid"\}\],"last":"\1"\}\n$/,
    );
    assert.equal(await firstLine(workshop, stream), 'retry: 250');
  },
  // Without htmx: like the extension for htmx 2, this subscribes to the event that the attributes name. A test of event streams
  // sends the Accept field of htmx 4.
  'html hx-ext': (t, code) => {
    const [, url] = /sse-connect="([^"]+)"/.exec(code) ?? [];
    const [, event] = /sse-swap="([^"]+)"/.exec(code) ?? [];
    assert.equal(/hx-sse:connect="([^"]+)"/.exec(code)?.[1], url);
    const script = `new EventSource('${url}').addEventListener('${event}', ({ data }) => console.log(data));`;
    return subscribeInPage(t, script);
  },
  'json k3v9x0ab-14': async (t, code) => {
    const workshop = await startWithToken(t);
    await publishTo(workshop, 'orders', 'paid', '?event=payment');
    const poll = await runLines(workshop, 'curl -s "http://localhost:8080/channels/orders?last=1"');
    const { id, ...sent } = (JSON.parse(poll) as { messages: [{ id: string }] }).messages[0];
    assert.deepEqual({ ...sent, id: 'k3v9x0ab-14' }, JSON.parse(code));
  },

  'json k3x9-12': async (t, code) => {
    assert.deepEqual((await sayInRoom(t)).fields, Object.keys(JSON.parse(code) as object));
  },
  'sh tail -n 1': async (t, code) => {
    const workshop = await sayInRoom(t);
    assert.match(
      await runLines(workshop, code),
      /"channel":"pond","from":"Zoë","uid":4096,"text":"hello"\}\n$/,
    );
  },

  'html user-17': async (t, code) => {
    const workshop = await startWithToken(t);
    const browser = await launchBrowser();
    t.after(() => browser.close());
    // The server's own pages allow no scripts in HTML; the page of the example is that of a site.
    const page = await browser.newPage({ bypassCSP: true });
    await page.goto(`http://127.0.0.1:${workshop.server!.port}/healthz`);
    await page.setContent(code);
    await page.getByText('connecting ; open websocket;').waitFor();
    await publishTo(workshop, 'orders', 'paid');
    await publishTo(workshop, 'user-17', 'hello');
    await page.locator('li').nth(1).waitFor();
    assert.deepEqual(await page.locator('li').allTextContents(), ['orders: paid', 'user-17: hello']);
  },
  'html last=20': async (t, code) => {
    const workshop = await startWithToken(t);
    for (const data of ['1', '2']) await publishTo(workshop, 'orders', data);
    const browser = await launchBrowser();
    t.after(() => browser.close());
    const page = await browser.newPage({ bypassCSP: true });
    await page.goto(`http://127.0.0.1:${workshop.server!.port}/healthz`);
    await page.setContent(code);
    await page.locator('li').nth(1).waitFor();
    await publishTo(workshop, 'orders', '3');
    await page.locator('li').nth(2).waitFor();
    assert.deepEqual(await page.locator('li').allTextContents(), ['1', '2', '3']);
  },
  'js pollywog/browser': async (t, code) => {
    const workshop = await startWithToken(t);
    mkdirSync(join(workshop.folder, 'node_modules'));
    symlinkSync(fileURLToPath(root), join(workshop.folder, 'node_modules/pollywog'));
    const here = code.replace('localhost:8080', `127.0.0.1:${workshop.server!.port}`);
    writeFileSync(join(workshop.folder, 'subscriber.mjs'), here);
    const child = spawn(process.execPath, ['subscriber.mjs'], { cwd: workshop.folder, stdio: 'pipe' });
    t.after(() => child.kill('SIGKILL'));
    const printed = once(child.stdout, 'data');
    // It has subscribed when a message reaches it.
    while ((await publishTo(workshop, 'orders', 'paid')) === 0) await new Promise(setImmediate);
    assert.match(String((await printed)[0]), /^[a-z\d]+-\d+ paid\n/);
  },
});

/** A user says hello in a room. @returns with the names of the fields in the log's last line */
async function sayInRoom(t: TestContext): Promise<Workshop & { fields: string[] }> {
  const workshop = newWorkshop();
  await runShell(t, workshop, 'pollywog --data messages');
  const zoe = await connectMember(workshop.server!.port, 'Zoë', 'pond', { path: '/tpacket' });
  t.after(() => zoe.socket.destroy());
  zoe.socket.write(binary(packetBytes(PacketCommand.NewMsg, 'hello')));
  await hearUntil(zoe, 'NEW_MSG uid=-1 p1=4096 p2=0 "hello"');
  const lines = readFileSync(join(workshop.folder, 'messages/messages.jsonl'), 'utf8').trimEnd().split('\n');
  return { ...workshop, fields: Object.keys(JSON.parse(lines.at(-1)!) as object) };
}

/** Runs the code in a page of the server, and publishes until the page logs what it received. */
async function subscribeInPage(t: TestContext, code: string): Promise<void> {
  const workshop = await startWithToken(t);
  const browser = await launchBrowser();
  t.after(() => browser.close());
  const page = await browser.newPage();
  const { port } = workshop.server!;
  await page.goto(`http://127.0.0.1:${port}/`);
  const logged = page.waitForEvent('console');
  await page.evaluate(`void (async () => { ${code.replaceAll('localhost:8080', `127.0.0.1:${port}`)} })()`);
  while ((await publishTo(workshop, 'orders', '<li>paid</li>')) === 0) await new Promise(setImmediate);
  assert.equal((await logged).text(), '<li>paid</li>');
}

/** @returns the number of subscribers that got it */
async function publishTo(
  { server, folder }: Workshop,
  channel: string,
  body: string,
  query = '',
): Promise<number> {
  const token = readFileSync(join(folder, 'publish-token'), 'utf8').trim();
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'text/plain' };
  const response = await fetch(`http://127.0.0.1:${server!.port}/channels/${channel}${query}`, {
    method: 'POST',
    headers,
    body,
  });
  assert.equal(response.status, 200);
  return ((await response.json()) as { subscribers: number }).subscribers;
}
