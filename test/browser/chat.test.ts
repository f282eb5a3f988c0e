/** The chat page in Chromium: what users see, also while the server is lost and comes back. */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { launchBrowser } from '../support/browser.ts';
import { firstExample } from '../support/documents.ts';
import { type ServerProcess, startServerWith } from '../support/serverProcess.ts';
import { runScript } from '../support/shell.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

/** Ends a case that hangs; no measure of speed. */
const patience = { timeout: 60_000 };

/** Bytes over the network for the whole page, with headers. */
const maxTransfer = 30 * 1024;

/** The browser's console message about each failed connection, which no page can suppress. */
const noServer =
  /^WebSocket connection to '.*\/tpacket' failed: .*(ERR_|Connection closed|Error in connection)|^Failed to load resource: net::ERR_/;

describe('the chat page', () => {
  const screenshots = mkdtempSync(join(tmpdir(), 'pollywog-chat-'));
  const data = temporaryFolder();
  const control = join(data, 'control.sock');
  const complaints: string[] = [];
  let browser: Browser;
  let server: ServerProcess;

  const start = (port: number) =>
    startServerWith([
      '-p',
      `${port}`,
      '--host',
      '127.0.0.1',
      '--log-format',
      'json',
      '--data',
      data,
      '--control',
      control,
    ]);

  // May install the browser first: the time for that is the installation's own.
  before(
    async () => {
      browser = await launchBrowser();
      // The first start reads this file of an older version.
      const line = (time: Date, text: string) =>
        `${JSON.stringify({ time: time.toISOString(), uid: 1, nick: 'Old', text })}\n`;
      writeFileSync(
        join(data, 'old.jsonl'),
        line(new Date(2025, 6, 14, 16, 12), 'then') + line(new Date(), 'now'),
      );
      server = await start(0);
    },
    { timeout: 15 * 60_000 },
  );
  after(async () => {
    await browser?.close();
    await server?.kill();
  });

  // A nick stays taken until its page is closed.
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
  });

  /** A user with a browser of their own. */
  async function visit(search = '', options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    page.on('console', message => {
      if (!noServer.test(message.text())) complaints.push(message.text());
    });
    page.on('pageerror', error => complaints.push(error.message));
    await page.goto(`http://127.0.0.1:${server.port}/${search}`);
    return page;
  }

  async function enter(nick: string, room: string, options?: BrowserContextOptions): Promise<Page> {
    const page = await visit('', options);
    await page.getByLabel('Your name').fill(nick);
    await page.getByLabel('Room').fill(room);
    await page.getByRole('button', { name: 'Enter' }).click();
    await page.locator('#chat').waitFor();
    return page;
  }

  async function say(page: Page, text: string): Promise<void> {
    await page.getByLabel('Message').fill(text);
    await page.getByLabel('Message').press('Enter');
  }

  const textsOf = (page: Page) => page.locator('#lines .text').allTextContents();

  /** Waits until `count` lines are shown and none is unconfirmed. @returns the lines */
  async function untilLines(page: Page, count: number): Promise<string[]> {
    await page
      .waitForFunction(
        wanted =>
          document.querySelectorAll('#lines li').length >= wanted &&
          document.querySelector('#lines .waiting') === null,
        count,
      )
      .catch(async error => assert.fail(`${error}: ${JSON.stringify(await textsOf(page))}`));
    return textsOf(page);
  }

  const textOf = async (place: Locator) => (await place.textContent()) ?? '';

  const rosterOf = (page: Page) => page.locator('#roster .nick').allTextContents();

  async function untilRoster(page: Page, nicks: readonly string[]): Promise<void> {
    await page.waitForFunction(
      count => document.querySelectorAll('#roster .nick').length === count,
      nicks.length,
    );
    assert.deepEqual(await rosterOf(page), nicks);
  }

  test('two users talk, and a third sees the roster and the history', patience, async () => {
    const ada = await enter('Ada', 'lobby');
    await ada.getByText('Nobody has said anything here yet.').waitFor();
    const bo = await visit('?room=lobby&nick=Bo');
    await untilRoster(ada, ['Ada', 'Bo']);
    await say(ada, 'hello');
    await say(ada, '  two\n    lines');
    assert.deepEqual(await untilLines(bo, 2), ['hello', '  two\n    lines']);
    await say(bo, 'hi 👋');
    assert.deepEqual(await untilLines(ada, 3), ['hello', '  two\n    lines', 'hi 👋']);

    assert.equal(await ada.locator('#lines .own').count(), 2);
    assert.equal(await bo.locator('#lines .own').count(), 1);
    assert.equal(await ada.locator('#lines .first').count(), 2, 'lines of one person stand together');
    assert.match(await textOf(ada.locator('#lines .first time').first()), /^\d{1,2}:\d\d\s[AP]M$/);

    const cy = await enter('Cy', 'lobby');
    assert.deepEqual(await untilLines(cy, 3), ['hello', '  two\n    lines', 'hi 👋']);
    await untilRoster(cy, ['Ada', 'Bo', 'Cy']);
    await untilRoster(ada, ['Ada', 'Bo', 'Cy']);
    assert.equal(await cy.locator('#lines li').first().getAttribute('data-divider'), '', 'it was said today');
    const times = (page: Page) => page.locator('#lines time').allTextContents();
    assert.deepEqual(await times(cy), await times(ada), 'the history shows when it was said');
    assert.equal(await cy.title(), 'lobby · Pollywog');
    assert.equal(new URL(cy.url()).search, '?room=lobby', 'an address that can be handed on');
    await cy.screenshot({ path: join(screenshots, 'three.png') });

    await cy.close();
    await untilRoster(ada, ['Ada', 'Bo']);
  });

  test(
    'after the server is killed and restarted, every line is there once, in order, with those typed meanwhile',
    patience,
    async () => {
      const ada = await enter('Ada', 'storm');
      const bo = await enter('Bo', 'storm', { viewport: { width: 390, height: 844 }, hasTouch: true });
      const said = ['one', 'two', 'two', 'three'];
      for (const text of said) await say(ada, text);
      await untilLines(bo, said.length);
      await server.kill();
      await ada.getByRole('button', { name: 'Try now' }).waitFor();
      await say(ada, 'typed into the void');
      await say(ada, 'two');
      await ada.locator('.waiting').nth(1).waitFor();
      await ada.screenshot({ path: join(screenshots, 'lost.png') });
      await bo.screenshot({ path: join(screenshots, 'lost-phone.png') });

      // Without the button: they reconnect by themselves.
      server = await start(server.port);
      const whole = [...said, 'typed into the void', 'two'];
      assert.deepEqual(await untilLines(ada, whole.length), whole);
      assert.deepEqual(await untilLines(bo, whole.length), whole);
      await untilRoster(ada, ['Ada', 'Bo']);
      await ada.locator('#chat .status').waitFor({ state: 'hidden' });

      const late = await enter('Late', 'storm');
      assert.deepEqual(await untilLines(late, whole.length), whole);
      await ada.screenshot({ path: join(screenshots, 'back.png') });
    },
  );

  test('a line that the server stored without confirming it is not posted twice', patience, async () => {
    const page = await visit();
    // A server that takes the line and dies before it answers; the page sees that no answer comes.
    await page.evaluate(() => {
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (bytes) {
        send.call(this, bytes);
        const newMessage = 7;
        if (!(bytes instanceof Uint8Array) || bytes[12] !== newMessage) return;
        WebSocket.prototype.send = send;
        this.onmessage = null;
        this.close();
      };
    });
    await page.getByLabel('Your name').fill('Ada');
    await page.getByLabel('Room').fill('cut');
    await page.getByLabel('Room').press('Enter');
    await page.locator('#chat').waitFor();
    await say(page, 'once');
    assert.deepEqual(await untilLines(page, 1), ['once']);
    await say(page, 'and on');
    assert.deepEqual(await untilLines(page, 2), ['once', 'and on']);
    const bo = await enter('Bo', 'cut');
    assert.deepEqual(await untilLines(bo, 2), ['once', 'and on']);
  });

  test('nicks and messages are shown as text, never as HTML', patience, async () => {
    const nick = '<b id=x>Eve</b>';
    const eve = await enter(nick, '<i>room</i>');
    const bo = await enter('Bo', '<i>room</i>');
    const lines = [
      '<script>document.title = "owned"</script>',
      '<img src=x onerror="document.title=1">',
      '&lt;b&gt;',
    ];
    for (const line of lines) await say(eve, line);
    assert.deepEqual(await untilLines(bo, lines.length), lines);
    await untilRoster(bo, [nick, 'Bo']);
    assert.equal(await bo.locator('#lines .nick').first().textContent(), nick);
    assert.equal(await bo.locator('#chat').locator('b, i, script, img').count(), 0);
    assert.equal(await bo.locator('h1 >> visible=true').textContent(), '<i>room</i>');
  });

  test(
    'the manual’s messages to everyone, to one user and to a room are shown as the server’s',
    patience,
    async () => {
      const ada = await enter('Ada', 'pond');
      const bo = await enter('Bo', 'lake');
      await say(ada, 'hello');
      await untilLines(ada, 1);
      const told = await runScript(firstExample('commands', 'sh'), control);
      assert.match(told, /sent: 2\nsent: 1\nsent: 1\n/);
      const [, , , date] = await untilLines(ada, 4);
      assert.deepEqual((await textsOf(ada)).slice(0, 3), [
        'hello',
        'back in five minutes',
        'your tea is ready',
      ]);
      assert.match(date!, /20\d\d/);
      assert.deepEqual(await untilLines(bo, 1), ['back in five minutes']);
      for (const page of [ada, bo]) {
        const servers = page.locator('#lines .server');
        assert.equal(await servers.count(), page === ada ? 3 : 1);
        assert.equal(await servers.first().locator('.nick').textContent(), 'server');
        assert.match(await textOf(servers.first().locator('time')), /^\d{1,2}:\d\d\s[AP]M$/);
      }
      await ada.screenshot({ path: join(screenshots, 'server.png') });

      // The history is there after a reload, and no line is there twice after a loss.
      await server.kill();
      await ada.getByRole('button', { name: 'Try now' }).waitFor();
      server = await start(server.port);
      await ada.locator('#chat .status').waitFor({ state: 'hidden' });
      await say(ada, 'and on');
      assert.deepEqual((await untilLines(ada, 5)).slice(1), [
        'back in five minutes',
        'your tea is ready',
        date,
        'and on',
      ]);
      await ada.reload();
      assert.deepEqual(await untilLines(ada, 3), ['hello', date, 'and on']);
      assert.equal(await ada.locator('#lines .server').count(), 1);
    },
  );

  test('a reader who has scrolled up is told of the server’s messages', patience, async () => {
    const ada = await enter('Ada', 'above');
    for (let line = 0; line < 40; line++) await say(ada, `line ${line}`);
    await untilLines(ada, 40);
    await ada.getByRole('log').press('Home');
    await ada.waitForFunction(() => document.querySelector('#log')?.scrollTop === 0);
    await runScript('pollywog publish above news', control);
    await ada.getByRole('button', { name: '1 new message' }).waitFor();
  });

  test('addresses become links that contain nothing else', patience, async () => {
    const ada = await enter('Ada', 'links');
    const bo = await enter('Bo', 'links');
    await say(
      ada,
      'see https://example.org/a?b=<i>, javascript:alert(1) and\n(http://example.com/\u202egpj)',
    );
    await untilLines(bo, 1);
    const links = await bo.locator('#lines a').evaluateAll(all =>
      all.map(link => {
        const { href, rel, target, dir } = link as HTMLAnchorElement;
        return { href, rel, target, dir };
      }),
    );
    const others = { rel: 'noopener noreferrer', target: '_blank', dir: 'ltr' };
    assert.deepEqual(links, [
      { href: 'https://example.org/a?b=', ...others },
      { href: 'http://example.com/', ...others },
    ]);
    const [popup] = await Promise.all([bo.waitForEvent('popup'), bo.locator('#lines a').first().click()]);
    await popup.close();
    assert.equal(await bo.locator('#lines i').count(), 0);
  });

  test('history lines of other days have dates, in the reader’s time zone', patience, async () => {
    const shownIn = async (locale: string) => {
      const page = await enter(`Ada ${locale}`, 'old', { locale });
      await untilLines(page, 2);
      return {
        dividers: await page
          .locator('#lines li')
          .evaluateAll(all => all.map(item => item.getAttribute('data-divider'))),
        time: await textOf(page.locator('#lines time').first()),
      };
    };
    const english = await shownIn('en-US');
    assert.deepEqual(english.dividers, ['Monday, July 14, 2025', 'Today']);
    assert.match(english.time, /^4:12\sPM$/);
    assert.deepEqual((await shownIn('de-DE')).time, '16:12');
  });

  test('each screen has one main landmark and one heading', patience, async () => {
    const page = await visit();
    const count = (role: 'main' | 'heading') =>
      page.getByRole(role, role === 'heading' ? { level: 1 } : {}).count();
    assert.deepEqual([await count('main'), await count('heading')], [1, 1]);
    await page.getByLabel('Your name').fill('Ada');
    await page.getByLabel('Your name').press('Enter');
    await page.locator('#chat').waitFor();
    assert.deepEqual([await count('main'), await count('heading')], [1, 1]);
  });

  test('a taken nick is reported at its field in the server’s words', patience, async () => {
    await enter('Ada', 'lobby');
    const other = await visit('?room=lobby&nick=ADA');
    await other.getByRole('alert').filter({ hasText: 'The nick ADA is taken' }).waitFor();
    assert.equal(await other.getByLabel('Your name').getAttribute('aria-invalid'), 'true');
    assert.equal(await other.evaluate(() => document.activeElement?.id), 'nick');
    await other.screenshot({ path: join(screenshots, 'taken.png') });
    await other.keyboard.type('Grace');
    await other.keyboard.press('Enter');
    await untilRoster(other, ['Ada', 'Grace']);
  });

  test('a reload returns to the room and restores the draft', patience, async () => {
    const ada = await enter('Ada', 'reload');
    await say(ada, 'before');
    await untilLines(ada, 1);
    await ada.getByLabel('Message').fill('half a sen');
    await ada.reload();
    assert.deepEqual(await untilLines(ada, 1), ['before']);
    assert.equal(await ada.getByLabel('Message').inputValue(), 'half a sen');
    await ada.getByRole('button', { name: 'Leave' }).click();
    await ada.getByLabel('Room').fill('elsewhere');
    await ada.keyboard.press('Enter');
    await ada.getByText('Nobody has said anything here yet.').waitFor();
    assert.equal(await ada.getByLabel('Message').inputValue(), '');
  });

  test('new messages do not scroll a reader who has scrolled up, but show a button', patience, async () => {
    const ada = await enter('Ada', 'long');
    const bo = await enter('Bo', 'long');
    const many = Array.from({ length: 40 }, (_, line) => `line ${line}`);
    for (const line of many) await say(bo, line);
    await untilLines(ada, many.length);
    const log = ada.getByRole('log');
    const fromEnd = () =>
      log.evaluate(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight);
    assert.ok((await fromEnd()) < 2, 'at the end, the newest line is kept in sight');
    await log.press('Home');
    await ada.waitForFunction(() => document.querySelector('#log')?.scrollTop === 0);
    await say(bo, 'news');
    await ada.getByRole('button', { name: '1 new message' }).waitFor();
    assert.equal(await ada.title(), '(1) long · Pollywog');
    assert.equal(await log.evaluate(frame => frame.scrollTop), 0);
    await ada.screenshot({ path: join(screenshots, 'unread.png') });
    await ada.getByRole('button', { name: '1 new message' }).click();
    await ada.waitForFunction(() => document.title === 'long · Pollywog');
    assert.ok((await fromEnd()) < 2);
  });

  test('on a phone the roster is behind a button, and the keyboard alone is enough', patience, async () => {
    const ada = await enter('Ada', 'phone', {
      viewport: { width: 390, height: 844 },
      hasTouch: true,
      isMobile: true,
      colorScheme: 'dark',
    });
    const people = ada.getByRole('button', { name: '1 person' });
    assert.equal(await ada.locator('#roster').isVisible(), false);
    await people.press('Enter');
    assert.equal(await people.getAttribute('aria-expanded'), 'true');
    assert.equal(await ada.locator('#roster').isVisible(), true);
    await ada.screenshot({ path: join(screenshots, 'phone.png') });
    await ada.keyboard.press('Escape');
    assert.equal(await ada.locator('#roster').isVisible(), false);

    const draft = ada.getByLabel('Message');
    await say(ada, `${'w'.repeat(300)}`);
    await untilLines(ada, 1);
    await draft.press('ArrowUp');
    assert.equal(await draft.inputValue(), 'w'.repeat(300), 'what was said last is called back');
    await draft.press('ArrowDown');
    await draft.press('Shift+Enter');
    assert.equal(await draft.inputValue(), '\n');
    assert.equal(await ada.evaluate(() => document.documentElement.scrollWidth), 390, 'nothing sticks out');
  });

  test('a user whom a rule refuses reads why, by WebSocket and by long polling', patience, async t => {
    for (const how of ['close', 'status']) {
      const closed = await startServerWith(
        [
          ...['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'],
          ...['--allow', '/tpacket: connect=nobody', '--refuse-with', how],
        ],
        { test: t },
      );
      const page = await (await browser.newContext()).newPage();
      await page.goto(`http://127.0.0.1:${closed.port}/?room=pond&nick=Ada`);
      await page.locator('#nick-problem', { hasText: 'You may not connect here' }).waitFor();
      assert.equal(await page.locator('#door').isVisible(), true, how);
    }
  });

  test(`all of the page is less than ${maxTransfer} bytes on the wire`, patience, async t => {
    const page = await (await browser.newContext()).newPage();
    const network = await page.context().newCDPSession(page);
    await network.send('Network.enable');
    let bytes = 0;
    network.on('Network.loadingFinished', ({ encodedDataLength }) => {
      bytes += encodedDataLength;
    });
    await page.goto(`http://127.0.0.1:${server.port}/?room=size&nick=Sue`, { waitUntil: 'networkidle' });
    await page.locator('#chat').waitFor();
    t.diagnostic(`${bytes} bytes`);
    assert.ok(bytes > 5000, 'they are counted');
    assert.ok(bytes < maxTransfer, `${bytes} bytes`);
  });

  test('no script failed, and nothing violated the content security policy', t => {
    t.diagnostic(`screenshots are in ${screenshots}`);
    assert.deepEqual(complaints, []);
  });
});
