/** The example checkers in a real browser. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { browserOfSuite } from '../support/browser.ts';
import { root } from '../support/documents.ts';
import { type Hooks, reload, startServerWith } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const example = fileURLToPath(new URL('test/examples/checkers', root));
const { shortGame } = (await import(join(example, 'test/games.mjs'))) as { shortGame: readonly string[] };

/** Ends a test that hangs; no measure of speed. */
const patience = { timeout: 120_000 };

/** A copy of the example, and a server that a test can kill and start again on its port. */
async function openTable(hooks?: Hooks) {
  const folder = temporaryFolder();
  for (const part of ['handlers', 'public'])
    cpSync(join(example, part), join(folder, part), { recursive: true });
  const start = (port: string) => {
    const words = `--host 127.0.0.1 --control none --config none --log-format json --rooms none -p ${port}`;
    const places = ['--handlers', 'handlers', '--static', 'public', '--data', 'games'];
    return startServerWith([...words.split(' '), ...places], { folder, ...(hooks && { test: hooks }) });
  };
  let server = await start('0');
  const module = join(folder, 'handlers/checkers.mjs');
  return {
    url: `http://127.0.0.1:${server.port}/`,
    server: () => server,
    kill: () => server.kill(),
    async restart() {
      server = await start(String(server.port));
    },
    /** Replaces a part of the module, and reloads it. */
    async swap(old: string, now: string) {
      const source = readFileSync(module, 'utf8');
      assert.ok(source.includes(old), old);
      writeFileSync(module, source.replace(old, now));
      const { event } = await reload(server);
      assert.equal(event, 'reloaded');
    },
  };
}

const squareOf = (page: Page, square: number | string) => page.locator(`#board [data-square="${square}"]`);
const movesOn = (page: Page) => page.locator('#moves button').allTextContents();

/** Waits until the page shows this number of moves. */
const untilMoves = (page: Page, count: number) =>
  page.waitForFunction(expected => document.querySelectorAll('#moves button').length === expected, count);

/** Clicks the squares of a move until the page takes it: a jump without a choice needs only two. */
async function click(page: Page, move: string): Promise<void> {
  const before = (await movesOn(page)).length;
  for (const square of move.split(/[x-]/)) {
    if ((await movesOn(page)).length > before) return;
    await squareOf(page, square).click();
  }
}

describe('checkers', patience, () => {
  const browser = browserOfSuite();
  /** The server of all tests but the first one. */
  let url = '';
  let closeTable: (() => Promise<void>) | undefined;
  before(async () => {
    ({ url, kill: closeTable } = await openTable());
  });
  after(() => closeTable?.());

  async function newPage(t: TestContext, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser().newContext({
      reducedMotion: 'reduce',
      viewport: { width: 900, height: 640 },
      ...options,
    });
    t.after(() => context.close());
    const page = await context.newPage();
    page.on('pageerror', error => assert.fail(error.stack));
    return page;
  }

  /** Red creates a table, and White joins by the link. */
  async function sitDown(t: TestContext, address: string, options: BrowserContextOptions = {}) {
    const red = await newPage(t, options);
    await red.goto(address);
    await red.getByRole('button', { name: 'Play red' }).click();
    await red.getByLabel('Link to this game').waitFor();
    const link = await red.getByLabel('Link to this game').inputValue();
    const white = await newPage(t, options);
    await white.goto(link);
    await white.getByRole('button', { name: 'Play white' }).click();
    await red.getByRole('heading', { name: 'Your move' }).waitFor();
    return { red, white, link };
  }

  async function play(red: Page, white: Page, from: number, to: number): Promise<void> {
    for (let ply = from; ply < to; ply++) {
      await click(ply % 2 === 0 ? red : white, shortGame[ply]!);
      for (const page of [red, white]) await untilMoves(page, ply + 1);
    }
  }

  test('two players finish a game while the module is swapped twice and the server is killed once', async t => {
    const table = await openTable(t);
    const { red, white, link } = await sitDown(t, table.url);
    await play(red, white, 0, 7);
    await table.swap('you watch this game', 'you only watch this game');
    await play(red, white, 7, 12);

    await table.kill();
    // Red moves while the server is down.
    await click(red, shortGame[12]!);
    await table.restart();
    for (const page of [red, white]) {
      await untilMoves(page, 13);
      assert.deepEqual(await movesOn(page), shortGame.slice(0, 13));
    }
    await play(red, white, 13, 18);

    // This version fails at its first move: the previous one makes the move.
    await table.swap('    table.record = next;', "    throw new Error('a broken version');");
    await play(red, white, 18, 20);
    await table.server().untilLogged(({ event }) => event === 'handler rolled back');
    await table.swap(
      "    throw new Error('a broken version');",
      '    table.record = next;\n    // Repaired.',
    );
    await play(red, white, 20, shortGame.length);

    await red.getByRole('heading', { name: 'You win' }).waitFor();
    await white.getByRole('heading', { name: 'You lose' }).waitFor();
    for (const page of [red, white]) assert.deepEqual(await movesOn(page), shortGame);
    const id = new URL(link).searchParams.get('game');
    const { messages } = (await (await fetch(`${table.url}channels/checkers/${id}?last=1000`)).json()) as {
      messages: { data: { type: string; move?: string } }[];
    };
    const kept = messages.filter(({ data }) => data.type === 'move').map(({ data }) => data.move);
    assert.deepEqual(kept, shortGame, 'the channel has each move once');
  });

  test('a player plays with the keyboard alone, and screen readers announce each move', async t => {
    const { red, white } = await sitDown(t, url);
    await squareOf(red, 11).focus();
    await red.keyboard.press('Enter');
    await red.keyboard.press('ArrowUp');
    await red.keyboard.press('Enter');
    await untilMoves(white, 1);
    const [move] = await movesOn(white);
    assert.match(move!, /^11-1[56]$/);
    const to = move!.slice(3);
    const said = (page: Page, text: string) => page.locator('#said', { hasText: text }).waitFor();
    await said(white, `Red moves from 11 to ${to}. Your move.`);
    await said(red, `Red moves from 11 to ${to}.`);
    assert.equal(await squareOf(red, to).getAttribute('aria-label'), `${to}, red man`);
    assert.equal(await squareOf(white, 21).getAttribute('aria-label'), '21, white man, can move');
    // One square of the board is in the tab order.
    assert.equal(await white.locator('#board [tabindex="0"]').count(), 1);
    // All dark squares can be reached by arrow keys.
    await squareOf(white, 32).focus();
    const seen = new Set<string>();
    for (let row = 0; row < 8; row++) {
      const sideways = row % 2 === 0 ? 'ArrowLeft' : 'ArrowRight';
      for (let column = 0; column < 4; column++) {
        seen.add(await white.evaluate(() => (document.activeElement as HTMLElement).dataset['square']!));
        if (column < 3) await white.keyboard.press(sideways);
      }
      await white.keyboard.press('ArrowUp');
    }
    assert.equal(seen.size, 32);
  });

  test('a seat belongs to its browser: after a reload, and in a second tab, but not in another browser', async t => {
    const { red, white, link } = await sitDown(t, url);
    await red.reload();
    await play(red, white, 0, 2);
    const tab = await red.context().newPage();
    await tab.goto(link);
    await tab.getByRole('heading', { name: 'Your move' }).waitFor();
    await click(tab, shortGame[2]!);
    for (const page of [red, white, tab]) await untilMoves(page, 3);
    const stranger = await newPage(t);
    await stranger.goto(link);
    await stranger.getByText('You are watching.').waitFor();
    await red.getByText('1 spectator').waitFor();
    assert.equal(await stranger.locator('#actions').isVisible(), false);
  });

  test('the players agree to a draw, and a spectator replays the game from the history of its channel', async t => {
    const { red, white, link } = await sitDown(t, url);
    await play(red, white, 0, 4);
    await red.getByRole('button', { name: 'Offer a draw' }).click();
    await white.getByRole('heading', { name: 'Red offers a draw' }).waitFor();
    await white.getByRole('button', { name: 'Accept' }).click();
    for (const page of [red, white]) await page.getByRole('heading', { name: 'Draw' }).waitFor();
    const watcher = await newPage(t);
    await watcher.goto(link);
    await watcher.getByRole('button', { name: 'One move back' }).click();
    await watcher.getByRole('heading', { name: 'Move 3 of 4' }).waitFor();
    const history = watcher.waitForResponse(/\/channels\/checkers\//);
    await watcher.getByRole('button', { name: 'Replay from the history' }).click();
    assert.equal((await history).status(), 200);
    await watcher.getByRole('heading', { name: 'Draw' }).waitFor();
  });

  test('a player drags a piece, chooses the path of a jump, reads that a jump is forced, and resigns', async t => {
    const { red, white } = await sitDown(t, url);
    const drag = (page: Page, from: number, to: number) => squareOf(page, from).dragTo(squareOf(page, to));
    await drag(red, 11, 15);
    await untilMoves(white, 1);
    await drag(white, 22, 18);
    await untilMoves(red, 2);
    await squareOf(red, 8).click();
    await red.locator('#hint', { hasText: 'You must jump.' }).waitFor();
    await click(red, '15x22');
    await untilMoves(white, 3);
    assert.deepEqual(await movesOn(white), ['11-15', '22-18', '15x22']);
    await white.getByRole('button', { name: 'Resign' }).click();
    await white.getByRole('dialog').getByRole('button', { name: 'Play on' }).click();
    await white.getByRole('button', { name: 'Resign' }).click();
    await white.getByRole('dialog').getByRole('button', { name: 'Resign' }).click();
    await red.getByRole('heading', { name: 'You win' }).waitFor();
    await red.getByText('White resigned.', { exact: true }).waitFor();
  });

  test('the page fits the window of a phone in both themes', async t => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const viewport = { width: 320, height: 640 };
      const page = await newPage(t, { viewport, colorScheme, hasTouch: true, isMobile: true });
      const width = () => page.evaluate(() => document.documentElement.scrollWidth);
      await page.goto(url);
      assert.equal(await width(), 320);
      await page.getByRole('button', { name: 'Play red' }).tap();
      await page.getByRole('button', { name: 'Play both sides here' }).tap();
      await page.getByRole('heading', { name: 'Red to move' }).waitFor();
      const moves = [
        [11, 15],
        [22, 18],
      ] as const;
      for (const [index, squares] of moves.entries()) {
        for (const square of squares) await squareOf(page, square).tap();
        await untilMoves(page, index + 1);
      }
      assert.equal(await width(), 320);
    }
  });

  test('the player copies the invitation, and finds the game again by the back button', async t => {
    const page = await newPage(t, { permissions: ['clipboard-read', 'clipboard-write'] });
    await page.goto(url);
    await page.getByRole('button', { name: 'Play white' }).click();
    await page.getByRole('button', { name: 'Copy' }).click();
    await page.getByRole('button', { name: 'Copied' }).waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(copied, /\/\?game=[a-z2-9]{8}$/);
    assert.equal(copied, page.url());
    await page.goBack();
    await page.getByRole('button', { name: 'Play red' }).waitFor();
    await page.goForward();
    await page.getByRole('heading', { name: 'Waiting for your opponent' }).waitFor();
  });

  test('the page of an unknown game says that the game does not exist', async t => {
    const page = await newPage(t);
    await page.goto(`${url}?game=aaaaaaaa`);
    await page.getByText('There is no such game; its link may be too old.').waitFor();
    await page.getByRole('link', { name: 'New game' }).click();
    await page.getByRole('button', { name: 'Play red' }).waitFor();
  });
});
