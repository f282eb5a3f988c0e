/** The recipe for a Rails site, as written, with Rails, nginx, Turbo and a real browser. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import type { Page } from 'playwright-core';
import { browserOfSuite } from '../support/browser.ts';
import { nginx, startProxy } from '../support/proxies.ts';
import { startRails } from '../support/railsSite.ts';
import type { Hooks } from '../support/serverProcess.ts';
import { siteSecret } from '../support/tokens.ts';
import {
  exampleCode,
  examplesOf,
  newWorkshop,
  runLines,
  runShell,
  testExamples,
  type Workshop,
} from './examples.ts';

const browser = browserOfSuite();

let shop: Shop;

const hooks: (() => void | Promise<void>)[] = [];

before(async () => {
  shop = await openShop({ after: hook => void hooks.push(hook) });
});

after(async () => {
  for (const hook of hooks.toReversed()) await hook();
});

interface Shop {
  readonly workshop: Workshop;
  /** The folder of the site. */
  readonly site: string;
  /** The site behind nginx. */
  readonly url: string;
}

/** The files of the page: each names its path in its first line. */
function filesOfPage(): Record<string, string> {
  const files: Record<string, string> = {};
  for (const { code } of examplesOf('rails')) {
    const path = /^(?:# |<%# )(app\/\S+)/.exec(code)?.[1];
    if (path !== undefined) files[path] = code;
  }
  return files;
}

/** The site of the page, the server and nginx, started as the page says. */
async function openShop(t: Hooks): Promise<Shop> {
  const workshop = newWorkshop({ 'etc/key': siteSecret });
  const site = join(workshop.folder, 'site');
  const files = filesOfPage();
  const here = (code: string) =>
    code
      .replaceAll('/etc/pollywog/', `${workshop.folder}/etc/`)
      .replaceAll("'localhost', 8080", `'127.0.0.1', ${workshop.server?.port ?? 0}`);
  const rails = await startRails(
    t,
    site,
    Object.fromEntries(Object.entries(files).map(([path, code]) => [path, here(code)])),
  );
  await runShell(t, workshop, exampleCode('rails', 'sh --auth-url'), {
    '/etc/pollywog/': `${workshop.folder}/etc/`,
    '/var/lib/pollywog': join(workshop.folder, 'data'),
    'localhost:3000': `127.0.0.1:${rails}`,
  });
  const { port } = workshop.server!;
  // Rails reads a file of app/ when it needs it: now it has the server's port.
  const live = 'app/models/live.rb';
  writeFileSync(join(site, live), here(files[live]!));
  const recipe = exampleCode('rails', 'nginx ').replace('127.0.0.1:3000', `127.0.0.1:${rails}`);
  return { workshop, site, url: `http://127.0.0.1:${await startProxy(t, nginx, recipe, port, '/live')}` };
}

/** The page of a visitor who is signed in. */
async function newVisitor(t: TestContext, user: number): Promise<Page> {
  const context = await browser().newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  assert.equal((await page.goto(`${shop.url}/login?user=${user}`))?.status(), 200);
  return page;
}

const change = (order: number, state: string) =>
  fetch(`${shop.url}/change?order=${order}&state=${state}`, { method: 'POST' });

const untilShown = (page: Page, text: string) => page.getByText(text, { exact: true }).waitFor();

async function untilSubscribed(): Promise<void> {
  const channels = () => runLines(shop.workshop, 'pollywog channels --json');
  while (JSON.parse(await channels())[0]?.eventsource !== 1);
}

/** The status of an event stream of this user's channel. */
async function statusOf(url: string, user: number, { cookie = '', token = '' } = {}): Promise<number> {
  const query = token === '' ? '' : `?token=${token}`;
  const headers = { Accept: 'text/event-stream', cookie };
  const response = await fetch(`${url}/channels/user-${user}${query}`, { headers });
  await response.body?.cancel();
  return response.status;
}

/** The cookie of a visitor who is signed in. */
async function cookieOf(user: number): Promise<string> {
  const { headers } = await fetch(`${shop.url}/login?user=${user}`);
  return headers.getSetCookie()[0]!.split(';', 1)[0]!;
}

/** The examples are parts of one site. The tests below run them together. */
const together = () => {};

testExamples('rails', {
  'nginx ': together,
  'sh --auth-url': together,
  'ruby live.rb': together,
  'ruby order.rb': together,
  'ruby live_controller.rb': together,
  'ruby live_tokens_controller.rb': together,
  'ruby production.rb': together,
  'erb _order.html.erb': together,
  'erb index.html.erb': together,
  'html <script>': together,
  'sh pollywog disconnect': together,
});

test('rails: each user sees changes of their own orders, including those while the page was disconnected', async t => {
  const owner = await newVisitor(t, 17);
  await owner.goto(`${shop.url}/orders`);
  await untilShown(owner, 'Order 1: new');
  await untilSubscribed();
  const other = { cookie: await cookieOf(18) };
  const statuses = await Promise.all([
    statusOf(shop.url, 17),
    statusOf(shop.url, 17, other),
    statusOf(shop.url, 18, other),
  ]);
  assert.deepEqual(statuses, [401, 403, 200], 'a stranger, another user, and the user');

  await change(1, 'paid');
  await untilShown(owner, 'Order 1: paid');
  await untilShown(owner, 'Order 2: new');

  // A page whose connection has ended catches up when it connects again.
  const { workshop } = shop;
  const [stream] = JSON.parse(await runLines(workshop, 'pollywog list --json')) as { id: number }[];
  await owner.route('**/channels/**', route => route.abort());
  await runLines(workshop, `pollywog disconnect ${stream!.id}`);
  await change(2, 'paid');
  await owner.unroute('**/channels/**');
  await untilShown(owner, 'Order 2: paid');
});

test('rails: a page without Turbo shows what the model publishes as JSON', async t => {
  const { 'app/models/order.rb': model, 'app/views/orders/index.html.erb': view } = filesOfPage();
  const write = (path: string, text: string) => writeFileSync(join(shop.site, path), text);
  write(
    'app/models/order.rb',
    model!.replace(/ {4}row = .*^ {4}HTML$/ms, '    Live.publish("user-#{user_id}", to_json)'),
  );
  write(
    'app/views/orders/index.html.erb',
    view!.replace(/<turbo.*\n/, exampleCode('rails', 'html <script>')),
  );
  const owner = await newVisitor(t, 17);
  await owner.goto(`${shop.url}/orders`);
  await untilSubscribed();
  await change(1, 'sent');
  await untilShown(owner, 'Order 1: sent');
});

test('rails: a log-out closes the connections of the user', async t => {
  const owner = await newVisitor(t, 17);
  await owner.goto(`${shop.url}/orders`);
  await untilSubscribed();
  const printed = await runLines(shop.workshop, exampleCode('rails', 'sh pollywog disconnect'));
  assert.equal(printed, 'user: 17\nclosed: 1\n');
});

test('rails: a signed token names its user, and a stranger gets none', async t => {
  assert.equal((await fetch(`${shop.url}/live_token`)).status, 401);
  const token = await (
    await fetch(`${shop.url}/live_token`, { headers: { cookie: await cookieOf(17) } })
  ).text();
  const verifying = newWorkshop({ key: siteSecret });
  await runShell(
    t,
    verifying,
    "pollywog --auth-key key --rooms none --allow '/channels/user-{user}: subscribe=user' --allow '/channels/**: subscribe=nobody'",
  );
  const url = `http://127.0.0.1:${verifying.server!.port}`;
  assert.deepEqual([await statusOf(url, 17, { token }), await statusOf(url, 18, { token })], [200, 403]);
});

test('rails: with HTTPS and names of hosts, Rails still answers the server', async t => {
  const strict = "config.force_ssl = true\nconfig.hosts = ['shop.example.com']\n";
  const settings = { 'production.rb': strict + exampleCode('rails', 'ruby production.rb') };
  const port = await startRails(t, join(newWorkshop().folder, 'site'), { ...filesOfPage(), ...settings });
  const statusAt = async (path: string) =>
    (await fetch(`http://127.0.0.1:${port}${path}`, { redirect: 'manual' })).status;
  assert.deepEqual([await statusAt('/live'), await statusAt('/orders')], [401, 403]);
});

test('rails: a request succeeds although publishing fails', async () => {
  await shop.workshop.server!.kill();
  assert.equal((await change(1, 'lost')).status, 200);
  assert.match(
    readFileSync(join(shop.site, 'log'), 'utf8'),
    /not published in user-17: Failed to open TCP connection/,
  );
});
