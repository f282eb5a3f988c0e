/** The recipe for a PHP site, as written, with PHP's own web server and a real browser. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser } from '../support/browser.ts';
import { logoutPage, type PhpSite, startPhp } from '../support/phpSite.ts';
import { exampleCode, newWorkshop, runLines, runShell, testExamples, type Workshop } from './examples.ts';

let browser: Browser;

before(async () => {
  browser = await launchBrowser();
});

after(() => browser.close());

const events = { Accept: 'text/event-stream' };

interface Shop extends PhpSite {
  readonly workshop: Workshop;
}

/** The site with these files of the page, and the server that the example with this mark starts. */
async function openShop(t: TestContext, start: string, ...files: string[]): Promise<Shop> {
  const workshop = newWorkshop();
  const site = await startPhp(t, exampleCode('php', 'sh php -S'), workshop.folder);
  const paths = { '/etc/pollywog/': `${workshop.folder}/` };
  await runShell(t, workshop, exampleCode('php', start), {
    'localhost:8000': `127.0.0.1:${site.port}`,
    ...(exampleCode('php', start).includes('/etc/') ? paths : {}),
  });
  writeFileSync(join(site.folder, 'login.php'), exampleCode('php', 'php // login.php'));
  writeFileSync(join(site.folder, 'logout.php'), logoutPage);
  for (const mark of files) {
    const code = exampleCode('php', mark)
      .replaceAll('localhost:8080', `127.0.0.1:${workshop.server!.port}`)
      .replaceAll('/etc/pollywog/', `${workshop.folder}/`);
    writeFileSync(join(site.folder, /([a-z]+\.(?:php|html))/.exec(mark)![1]!), code);
  }
  return { ...site, workshop };
}

/** A visitor has a browser with its own cookies. */
async function newVisitor(t: TestContext, { port }: PhpSite, user?: string): Promise<Page> {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  if (user !== undefined) await page.goto(`http://127.0.0.1:${port}/login.php?user=${user}`);
  return page;
}

/** Waits until the page shows a line like this. */
async function untilShown(page: Page, text: string): Promise<void> {
  await page.getByRole('listitem').filter({ hasText: text }).first().waitFor();
}

/** @param stranger the beginning of the sentence for a visitor who is not signed in */
async function testPage(t: TestContext, shop: Shop, file: string, stranger: string): Promise<void> {
  const address = `http://127.0.0.1:${shop.port}/${file}?user=17`;
  const [nobody, other, owner] = await Promise.all([
    newVisitor(t, shop),
    newVisitor(t, shop, '18'),
    newVisitor(t, shop, '17'),
  ]);
  for (const page of [nobody, other, owner]) await page.goto(address);
  await untilShown(nobody, `4401 ${stranger}`);
  await untilShown(other, '4403 you may not subscribe to this channel');
  const { workshop } = shop;
  const subscribers = async () =>
    JSON.parse(await runLines(workshop, 'pollywog channels --json')) as Record<string, number>[];
  while ((await subscribers())[0]?.['websocket'] !== 1);
  await runLines(workshop, exampleCode('php', 'sh pollywog publish'));
  await untilShown(owner, 'order 1234 is paid');
  await owner.request.get(`http://127.0.0.1:${shop.port}/logout.php`);
  await runLines(workshop, exampleCode('php', 'sh pollywog disconnect'));
  await untilShown(owner, '1000 you have signed out');
  // The answer about this user is not reused.
  await owner.reload();
  await untilShown(owner, `4401 ${stranger}`);
}

testExamples('php', {
  'sh php -S': async (t, code) => {
    const { port } = await startPhp(t, code, newWorkshop().folder);
    assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 404);
  },
  'php // login.php': async t => {
    const { port } = await openShop(t, 'sh --auth-url');
    const cookies = (await fetch(`http://127.0.0.1:${port}/login.php?user=17`)).headers.getSetCookie();
    assert.match(cookies.join(), /^PHPSESSID=/);
  },
  'php // auth.php': async t => {
    const { port } = await openShop(t, 'sh --auth-url', 'php // auth.php');
    const url = `http://127.0.0.1:${port}`;
    assert.equal((await fetch(`${url}/auth.php`)).status, 401);
    const cookie = (await fetch(`${url}/login.php?user=17`)).headers.getSetCookie()[0]!.split(';', 1)[0]!;
    const { status, headers } = await fetch(`${url}/auth.php`, { headers: { cookie } });
    assert.deepEqual([status, headers.get('x-user')], [200, '17']);
  },
  'sh --auth-url': async (t, code) => {
    assert.match(code, /--auth-cookie PHPSESSID/);
    const { workshop } = await openShop(t, 'sh --auth-url');
    // The app is not there to ask: the site has no auth.php.
    const { status } = await fetch(`http://127.0.0.1:${workshop.server!.port}/channels/user-17`, {
      headers: events,
    });
    assert.equal(status, 503);
  },
  'html <!-- orders.html': async t => {
    const shop = await openShop(t, 'sh --auth-url', 'php // auth.php', 'html <!-- orders.html');
    await testPage(t, shop, 'orders.html', 'sign in to subscribe to this channel');
  },
  'sh pollywog publish': async (t, code) => {
    const { workshop } = await openShop(t, 'sh --auth-url');
    await runLines(workshop, code);
    assert.match(await runLines(workshop, 'pollywog history user-17'), /order 1234 is paid/);
  },
  'sh pollywog disconnect': async (t, code) => {
    const { workshop } = await openShop(t, 'sh --auth-url');
    // The pages' tests run it with connections.
    assert.equal(await runLines(workshop, code), 'user: 17\nclosed: 0\n');
  },
  'php // report.php': async t => {
    const shop = await openShop(t, 'sh --auth-url', 'php // auth.php', 'php // report.php');
    const report = readFileSync(join(shop.folder, 'report.php'), 'utf8');
    // It waits until the test ends, and tells that it has begun.
    const begun = join(shop.workshop.folder, 'begun');
    const slow = report.replace('sleep(20);', `touch('${begun}'); sleep(600);`);
    assert.notEqual(slow, report);
    const locked = slow.replace('session_write_close();', '');
    const { port } = shop.workshop.server!;
    for (const [script, wanted] of [
      [slow, 200],
      [locked, 503],
    ] as const) {
      writeFileSync(join(shop.folder, 'report.php'), script);
      const url = `http://127.0.0.1:${shop.port}`;
      const signedIn = await fetch(`${url}/login.php?user=17`);
      const cookie = signedIn.headers.getSetCookie()[0]!.split(';', 1)[0]!;
      const leave = new AbortController();
      t.after(() => leave.abort());
      fetch(`${url}/report.php`, { headers: { cookie }, signal: leave.signal }).catch(() => {});
      while (!existsSync(begun)) await setTimeout(20);
      rmSync(begun);
      const answer = await fetch(`http://127.0.0.1:${port}/channels/user-17`, {
        headers: { ...events, cookie },
      });
      assert.equal(answer.status, wanted, script);
      await answer.body?.cancel();
    }
  },
  'php // token.php': async t => {
    const { port } = await openShop(t, 'sh --auth-key', 'php // token.php');
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/token.php`)).text(), '');
  },
  'sh --auth-key': async t => {
    const { workshop } = await openShop(t, 'sh --auth-key');
    const { status } = await fetch(`http://127.0.0.1:${workshop.server!.port}/channels/user-17`, {
      headers: events,
    });
    assert.equal(status, 401);
  },
  'html <!-- token.html': async t => {
    const shop = await openShop(t, 'sh --auth-key', 'php // token.php', 'html <!-- token.html');
    await testPage(t, shop, 'token.html', 'the token is not a JWT');
  },
  'php // link.php': async t => {
    const { port, workshop } = await openShop(t, 'sh --auth-key', 'php // link.php');
    const link = await (await fetch(`http://127.0.0.1:${port}/link.php?user=17`)).text();
    assert.match(link, /^\/channels\/user-17\?user=&until=\d+&sign=[\da-f]{64}$/);
    const { status } = await fetch(`http://127.0.0.1:${workshop.server!.port}${link}`, { headers: events });
    assert.equal(status, 401);
  },
  'html <!-- link.html': async t => {
    const shop = await openShop(t, 'sh --auth-key', 'php // link.php', 'html <!-- link.html');
    await testPage(t, shop, 'link.html', 'the user of the link is not valid');
  },
});
