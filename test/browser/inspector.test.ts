/** The inspector's page in Chromium. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { Locator, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { browserOfSuite } from '../support/browser.ts';
import { openInspector as openClient } from '../support/inspectorClient.ts';
import {
  type ServerProcess,
  startServer,
  startServerFor,
  startServerWith,
} from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

/** Milliseconds after which a hanging case ends. */
const patience = { timeout: 60_000 };

/** A client whose messages are watched. It ends with the test. */
async function connect(
  t: TestContext,
  port: number,
  path: string,
  perMessageDeflate = false,
): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${port}${path}`, { perMessageDeflate });
  t.after(() => client.terminate());
  await once(client, 'open');
  return client;
}

describe('the inspector in Chromium', { timeout: 180_000 }, () => {
  const browser = browserOfSuite();
  let server: ServerProcess;
  before(async () => {
    server = await startServer('--inspect', '--faults');
  });
  after(() => server?.kill());

  /** Opens the page, which must not violate its policy nor throw. */
  async function openInspector(t: TestContext, port = server.port, hash = ''): Promise<Page> {
    const page = await browser().newPage({ viewport: { width: 1280, height: 800 } });
    const complaints: string[] = [];
    page.on('pageerror', error => complaints.push(String(error)));
    page.on('console', message => {
      if (message.type() === 'error' && !/ERR_CONNECTION|WebSocket connection/.test(message.text()))
        complaints.push(message.text());
    });
    t.after(async () => {
      await page.close();
      assert.deepEqual(complaints, []);
    });
    await page.goto(`http://127.0.0.1:${port}/inspect${hash}`);
    return page;
  }

  const connections = (page: Page, text: string) =>
    page.locator('#connection-list .row:not([aria-disabled])', { hasText: text });
  const frames = (page: Page, text: string) => page.locator('#frame-list .row', { hasText: text });
  const shown = async (locator: Locator) => (await locator.allInnerTexts()).join(' ');
  const top = async (page: Page, selector: string) => (await page.locator(selector).boundingBox())!.y;

  test('shows a live chat, both directions, and the bits, fields and rules of a frame', patience, async t => {
    const client = await connect(t, server.port, '/echo');
    const page = await openInspector(t);
    await page.locator('#link.live').waitFor();
    await connections(page, 'echo').last().click();
    await page.locator('#states .lit', { hasText: 'OPEN' }).waitFor();
    const before = await top(page, '#frame-list');
    client.send('Hello, inspector');
    await frames(page, 'Hello, inspector').nth(1).waitFor();
    const rows = await frames(page, 'Hello, inspector').allInnerTexts();
    assert.match(rows[0]!, /client →\s+text\s+16\s+Hello, inspector/);
    assert.match(rows[1]!, /← server\s+text\s+16\s+Hello, inspector/);

    await frames(page, 'client →').first().click();
    const figure = page.locator('#bytes .figure');
    await figure.waitFor();
    const cells = await figure.locator('.cell').allInnerTexts();
    const flat = cells.map(cell => cell.replace(/\s+/g, ' ').trim());
    assert.deepEqual(flat.slice(0, 7), [
      'FIN 1',
      'RSV1 0',
      'RSV2 0',
      'RSV3 0',
      'opcode 0 0 0 1',
      'MASK 1',
      'Payload len 0 0 1 0 0 0 0',
    ]);
    await page.locator('#bytes .choice-row.f-mask').click();
    const rule = page.locator('#rule');
    await rule.locator('.rule-id').first().waitFor();
    assert.match(await shown(rule), /\[5\.\d-\w+\].*RFC 6455 §5/s);
    assert.match(await shown(rule.locator('.place').first()), /^src\/[\w/]+\.ts/);
    await page.locator('#bytes .choice-row', { hasText: 'unmasked' }).waitFor();
    assert.equal(await top(page, '#frame-list'), before, 'the list has not moved');

    client.close(1000, 'bye');
    await frames(page, '1000 bye').first().waitFor();
    await page.locator('#states .lit', { hasText: 'ENDED' }).waitFor();
  });

  test(
    'fits a phone: nothing is cut off at the right, and the frames show their content',
    patience,
    async t => {
      const client = await connect(t, server.port, '/echo');
      const page = await openInspector(t);
      await page.setViewportSize({ width: 390, height: 780 });
      await connections(page, 'echo').last().click();
      await page.locator('#watched-state', { hasText: 'OPEN' }).waitFor();
      client.send('Hello, phone');
      await frames(page, 'Hello, phone').nth(1).waitFor();
      const content = (await frames(page, 'Hello, phone').first().locator('.content').boundingBox())!;
      assert.ok(content.width > 100, `the content has ${content.width} pixels`);
      await page.getByRole('tab', { name: 'Workbench' }).click();
      for (const name of ['Keys', 'Export', 'Connect', 'Send']) {
        const { x, width } = (await page.getByRole('button', { name, exact: true }).boundingBox())!;
        assert.ok(x >= 0 && x + width <= 390, `${name} is at ${x} to ${x + width}`);
      }
    },
  );

  test('shows the inflated text of a compressed message, and marks it', patience, async t => {
    const client = await connect(t, server.port, '/echo', true);
    const page = await openInspector(t);
    await connections(page, 'deflate').last().click();
    await page.locator('#states .lit', { hasText: 'OPEN' }).waitFor();
    const text = 'compressed '.repeat(200);
    client.send(text);
    const row = frames(page, 'client →').first();
    await row.waitFor();
    assert.match(await shown(row), /text\s+\d\d\s+inflated: 2200 compressed compressed/);
    await row.click();
    await page.locator('#bytes .whole-content', { hasText: 'Inflated, 2200 bytes' }).waitFor();
    await page.locator('#bytes .choice-row', { hasText: 'DEFLATE' }).first().waitFor();
  });

  test('shows HTML as text, and names invisible characters', patience, async t => {
    const client = await connect(t, server.port, '/echo');
    const page = await openInspector(t);
    await connections(page, 'echo').last().click();
    await page.locator('#states .lit', { hasText: 'OPEN' }).waitFor();
    client.send('<img src=x onerror="document.title=1">\u202egnp.exe\0');
    const row = frames(page, 'client →').first();
    await row.waitFor();
    assert.match(await shown(row), /<img src=x onerror="document\.title=1">\s*U\+202E\s*gnp\.exe\s*\\0/);
    assert.equal(await row.locator('.mark-of').count(), 2);
    await row.click();
    await page.locator('#bytes .content-text').waitFor();
    assert.equal(await page.locator('img').count(), 0);
    assert.equal(await page.title(), 'Inspector · Pollywog');
  });

  test('shows the faults of a connection, and what they did', patience, async t => {
    const client = await connect(t, server.port, '/faulty?close=1011&reason=oops');
    const page = await openInspector(t);
    await connections(page, 'faulty').last().click();
    await page.locator('#watched-facts', { hasText: 'close=1011' }).waitFor();
    client.send('one');
    await frames(page, 'fault').first().waitFor();
    await frames(page, '1011 oops').first().waitFor();
    await page.selectOption('#kind', 'Faults and ends');
    await page.locator('#frame-list .t-close').first().waitFor({ state: 'detached' });
    assert.match(await shown(page.locator('#counts')), /^\d of \d+ rows/);
  });

  test('shows a sample of 10,000 frames a second, says so, and stays fast', patience, async t => {
    const client = await connect(t, server.port, '/echo');
    const page = await openInspector(t);
    await connections(page, 'echo').last().click();
    await page.locator('#states .lit', { hasText: 'OPEN' }).waitFor();
    const before = await top(page, '#frame-list');
    // 500 messages each 50 ms.
    const timer = setInterval(() => {
      for (let i = 0; i < 500; i++) client.send(`message ${i}`);
    }, 50);
    t.after(() => clearInterval(timer));
    await page.locator('#sampled', { hasText: /Sampled: 1 of \d+ frames shown/ }).waitFor();
    await page.waitForFunction(
      () => Number(document.getElementById('counts')!.textContent.match(/\d+/)) > 100,
    );
    // Only the visible rows are elements.
    assert.ok((await page.locator('#frame-list .row').count()) < 40);
    assert.equal(await top(page, '#frame-list'), before, 'the list has not moved');
    // The gaps are in the list, between the frames that are shown.
    for (const key of ['f', 'End']) await page.keyboard.press(key);
    const gap = page.locator('#frame-list .skipped', { hasText: /^[\d,]+ not shown$/ });
    while ((await gap.count()) === 0) await page.keyboard.press('PageUp');
    await page.getByRole('button', { name: /↓ [\d,]+ new/ }).click();
    await page.keyboard.press('p');
    await page.locator('#sampled', { hasText: 'Paused' }).waitFor();
    assert.equal(await page.getByRole('button', { name: 'Resume' }).getAttribute('aria-pressed'), 'true');
    clearInterval(timer);
    await page.keyboard.press('p');
    await page.locator('#sampled', { hasText: 'Paused' }).waitFor({ state: 'detached' });
  });

  test('works with the keyboard alone', patience, async t => {
    const client = await connect(t, server.port, '/echo');
    const page = await openInspector(t);
    await page.locator('#link.live').waitFor();
    await connections(page, 'echo').last().waitFor();
    const press = async (...keys: string[]) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    const focused = () =>
      page.evaluate(() => document.activeElement?.id || document.activeElement?.className);
    // Browsers keep further connections open, which serve the page's files.
    const chosen = page.locator('#connection-list [aria-selected=true]');
    await press('c', 'End');
    while (!(await shown(chosen)).includes('echo')) await press('ArrowUp');
    await page.locator('#watched-title', { hasText: 'echo' }).waitFor();
    client.send('first');
    client.send('second');
    await frames(page, 'second').nth(1).waitFor();
    await press('Enter');
    assert.equal(await focused(), 'frame-list');
    await press('Home', 'ArrowDown');
    const option = page.locator('#frame-list [aria-selected=true]');
    assert.match(await shown(option), /first|second/);
    assert.equal(
      await page.locator('#frame-list').getAttribute('aria-activedescendant'),
      await option.getAttribute('id'),
    );
    await page.locator('#bytes [role=listbox]').waitFor();
    await press('Enter');
    assert.equal(await focused(), 'choices');
    await press('Home');
    assert.match(await shown(page.locator('#bytes [aria-selected=true]')), /^FIN/);
    await press('ArrowDown');
    assert.match(await shown(page.locator('#rule h3')), /^RSV1/);
    await press('/');
    await page.keyboard.type('sec');
    await frames(page, 'first').first().waitFor({ state: 'detached' });
    assert.equal(await frames(page, 'second').count(), 2);
    await press('Escape', '?');
    assert.equal(await page.locator('#help').isVisible(), true);
    assert.match(await shown(page.locator('#help')), /pause and resume/);
    await press('Escape');
    const size = () => page.evaluate(() => Number.parseFloat(getComputedStyle(document.body).fontSize));
    const small = await size();
    await press('+', '+');
    assert.ok((await size()) > 1.2 * small);
    await press('-', '-');
    await press('w');
    assert.equal(await focused(), 'payload');
  });

  test(
    'the workbench sends text and an invalid frame, and shows the echo and the close',
    patience,
    async t => {
      const page = await openInspector(t);
      await page.getByRole('tab', { name: 'Workbench' }).click();
      await page.getByRole('button', { name: 'Connect', exact: true }).click();
      await page.locator('#bench-state', { hasText: 'Open' }).waitFor();
      await page.locator('#watched-title', { hasText: 'echo' }).waitFor();
      const answers = page.locator('#answer-list .row');
      await page.locator('#payload').fill('made by hand');
      await page.locator('#payload').press('Enter');
      await answers.filter({ hasText: /← server\s*text\s*12\s*made by hand/ }).waitFor();

      await page.getByRole('button', { name: 'RSV2' }).click();
      assert.equal(await shown(page.locator('#draft .f-rsv .cell-bits').nth(1)), '1');
      assert.match(await shown(page.locator('#draft-bytes')), /^18 bytes: a1 8c /);
      await page.getByRole('button', { name: 'Send' }).click();
      await answers.filter({ hasText: /← server\s*close\s*\d+\s*1002 / }).waitFor();
      await page.locator('#states .lit', { hasText: /CLOSED|ENDED/ }).waitFor();
      await page.getByRole('button', { name: 'Connect', exact: true }).waitFor();
      // The server's side: the refused frame and the rule that it broke.
      await frames(page, 'not a frame').first().click();
      await page.locator('#bytes .breach', { hasText: 'RSV2 and RSV3 must be 0' }).waitFor();
    },
  );

  test('the workbench shows why a handshake was refused', patience, async t => {
    const page = await openInspector(t);
    await page.locator('#link.live').waitFor();
    await page.keyboard.press('w');
    await page.locator('#path').fill('/faulty?nonsense');
    await page.locator('#path').press('Enter');
    await page.locator('#answer-list .row', { hasText: 'HTTP/1.1 400' }).first().waitFor();
    await page.locator('#bench-state', { hasText: 'nonsense' }).waitFor();
  });

  test('saves the recording of a connection', patience, async t => {
    const client = await connect(t, server.port, '/echo');
    const page = await openInspector(t);
    await connections(page, 'echo').last().click();
    await page.locator('#states .lit', { hasText: 'OPEN' }).waitFor();
    client.send('to be saved');
    await frames(page, 'to be saved').nth(1).waitFor();
    const saving = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Export' }).click();
    const saved = await saving;
    assert.match(saved.suggestedFilename(), /^connection-\d+\.jsonl$/);
    const text = readFileSync(await saved.path(), 'utf8');
    assert.match(text, /^\{"pollywog":"recording"/);
    assert.match(text, /to be saved/);
  });

  test('asks for the token if the server needs one, and again if it is wrong', patience, async t => {
    const token = 'a-token-of-the-operator-0123456789';
    const file = join(temporaryFolder(), 'token');
    writeFileSync(file, `${token}\n`, { mode: 0o600 });
    const proxied = await startServerFor(t, '--inspect', '--api-token', file, '--trust-proxy', '127.0.0.1');
    const page = await openInspector(t, proxied.port);
    await page.locator('#door-reason', { hasText: 'proxy' }).waitFor();
    await page.keyboard.type('wrong');
    await page.keyboard.press('Enter');
    await page.locator('#door-reason', { hasText: '--api-token names' }).waitFor();
    await page.keyboard.type(token);
    await page.keyboard.press('Enter');
    await page.locator('#link.live').waitFor();
    assert.equal(page.url(), `http://127.0.0.1:${proxied.port}/inspect`);
  });

  test('says that the server takes no further inspector', patience, async t => {
    const { port } = await startServerFor(t, '--inspect');
    const others = await Promise.all([openClient(port), openClient(port)]);
    const page = await openInspector(t, port);
    await page.locator('#link', { hasText: 'close another one' }).waitFor();
    for (const other of others) other.close();
    await page.locator('#link.live').waitFor();
  });

  test('reconnects to a server that was restarted, and keeps the frames', patience, async t => {
    const first = await startServer('--inspect');
    t.after(() => first.kill());
    const client = await connect(t, first.port, '/echo');
    const page = await openInspector(t, first.port);
    await connections(page, 'echo').last().click();
    await page.locator('#states .lit', { hasText: 'OPEN' }).waitFor();
    client.send('before');
    await frames(page, 'before').nth(1).waitFor();
    client.on('error', () => {});
    await first.kill();
    await page.locator('#link.lost', { hasText: 'No connection to the server' }).waitFor();
    const standard = ['--host', '127.0.0.1', '--control', 'none', '--log-format', 'json', '--inspect'];
    await startServerWith(['-p', String(first.port), ...standard], { test: t });
    // Without effect if the page has connected again by itself, which also hides the button.
    await page.locator('#retry').dispatchEvent('click');
    await page.locator('#link.live').waitFor();
    await frames(page, 'The inspector was disconnected').waitFor();
    assert.equal(await frames(page, 'before').count(), 2);
  });
});
