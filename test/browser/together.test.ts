/** One channel with every kind of client. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { PacketCommand } from '../../src/protocol/tpacket.ts';
import { launchBrowser } from '../support/browser.ts';
import { openSocket, pollChannel } from '../support/channelClients.ts';
import { type ChatClient, connectMember } from '../support/chatClient.ts';
import { connectTerminal, linesSoFar } from '../support/lineClient.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const token = 'a-token-for-the-tests';

/** A client of the channel `pond`. */
interface Member {
  /** The name that others see: of the user in the room, or `server`. */
  readonly name: string;
  say(text: string): Promise<unknown>;
  /** The next message that it receives, as `NAME: TEXT`. */
  next(): Promise<string>;
}

async function enterPage(browser: Browser, port: number): Promise<Member> {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.getByLabel('Your name').fill('Ada');
  await page.getByLabel('Room').fill('Pond');
  await page.getByRole('button', { name: 'Enter' }).click();
  await page.locator('#chat').waitFor();
  let seen = 0;
  return {
    name: 'Ada',
    async say(text) {
      await page.getByLabel('Message').fill(text);
      await page.getByLabel('Message').press('Enter');
    },
    async next() {
      const line = page.locator('#lines li:not(.waiting)').nth(seen++);
      await line.locator('.text').waitFor();
      return line.evaluate(shown => {
        // Only the first of consecutive lines of one user has the name.
        let first: Element | null = shown;
        while (first !== null && first.querySelector('.nick') === null) first = first.previousElementSibling;
        const textOf = (of: Element | null, name: string) => of?.querySelector(name)?.textContent;
        return `${textOf(first, '.nick')}: ${textOf(shown, '.text')}`;
      });
    },
  };
}

async function enterTerminal(port: number): Promise<Member> {
  const terminal = await connectTerminal(port, 'Newt');
  terminal.send('/join pond\n');
  await linesSoFar(terminal);
  return {
    name: 'Newt',
    say: async text => terminal.send(`${text}\n`),
    async next() {
      for (;;) {
        const line = await terminal.line();
        if (line === undefined) throw new Error('the terminal was closed');
        if (!line.startsWith('* ')) return line;
      }
    },
  };
}

async function enterWithPackets(port: number): Promise<Member> {
  const client = await connectMember(port, 'Tad', 'pond');
  const users = new Map<number, string>();
  return {
    name: 'Tad',
    say: async text => client.send(PacketCommand.NewMsg, text),
    next: () => nextOfPackets(client, users),
  };
}

async function nextOfPackets(client: ChatClient, users: Map<number, string>): Promise<string> {
  for (;;) {
    const packet = await client.next();
    if (packet === undefined) throw new Error('the packet client was closed');
    const text = packet.blob.toString();
    if (packet.cmd === PacketCommand.NewUser) users.set(packet.p1, text);
    if (packet.cmd === PacketCommand.NewMsg) return `${users.get(packet.p1)}: ${text}`;
    if (packet.cmd === PacketCommand.LoggedMsg) return text;
  }
}

/** A message in the JSON form. */
const shown = ({ from, data }: { from?: unknown; data?: unknown }) => `${from ?? 'server'}: ${data}`;

async function subscribeSocket(t: TestContext, port: number): Promise<Member> {
  const client = await openSocket(port, `/channels/pond?format=json&token=${token}`);
  t.after(() => client.socket.terminate());
  await client.next();
  return {
    name: 'server',
    say: async data => client.send({ publish: 'pond', data }),
    async next() {
      for (;;) {
        const message = await client.nextJson();
        if (message['id'] !== undefined) return shown(message);
      }
    },
  };
}

async function post(port: number, text: string): Promise<void> {
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'text/plain' };
  const { status } = await fetch(`http://127.0.0.1:${port}/channels/pond`, {
    method: 'POST',
    body: text,
    headers,
  });
  assert.equal(status, 200);
}

declare global {
  var heardEvents: string[];
}

/** The EventSource of a browser. */
async function subscribeEvents(browser: Browser, port: number): Promise<Member> {
  const page: Page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${port}/healthz`);
  await page.evaluate(async () => {
    globalThis.heardEvents = [];
    const source = new EventSource('/channels/pond?format=json');
    source.onmessage = ({ data }) => globalThis.heardEvents.push(data);
    await new Promise(resolve => {
      source.onopen = resolve;
    });
  });
  let seen = 0;
  return {
    name: 'server',
    say: text => post(port, text),
    async next() {
      const at = seen++;
      const handle = await page.waitForFunction(index => globalThis.heardEvents[index], at);
      return shown(JSON.parse(String(await handle.jsonValue())));
    },
  };
}

async function subscribeWithPolls(port: number): Promise<Member> {
  let { last } = await pollChannel(port, '/channels/pond?last=0');
  const received: Record<string, unknown>[] = [];
  return {
    name: 'server',
    say: text => post(port, text),
    async next() {
      while (received.length === 0) {
        const answer = await pollChannel(port, `/channels/pond?after=${last}`);
        assert.equal(answer.gap, undefined);
        received.push(...answer.messages);
        last = answer.last;
      }
      return shown(received.shift()!);
    },
  };
}

test('the page, a terminal, a packet client, a WebSocket, an EventSource and a poller of one channel receive the same messages in the same order', {
  timeout: 120_000,
}, async t => {
  const file = join(temporaryFolder(), 'token');
  writeFileSync(file, token, { mode: 0o600 });
  const { port } = await startServerFor(t, '--publish-token', file);
  const browser = await launchBrowser();
  t.after(() => browser.close());
  const members = [
    await enterPage(browser, port),
    await enterTerminal(port),
    await enterWithPackets(port),
    await subscribeSocket(t, port),
    await subscribeEvents(browser, port),
    await subscribeWithPolls(port),
  ];
  // Each waits for the one before, so only one order is right.
  for (const round of ['first', 'second']) {
    for (const [number, speaker] of members.entries()) {
      const text = `${round} of ${number}`;
      await speaker.say(text);
      for (const [at, member] of members.entries()) {
        // A terminal shows what its user types.
        if (member === speaker && member.name === 'Newt') continue;
        assert.equal(await member.next(), `${speaker.name}: ${text}`, `member ${at}`);
      }
    }
  }
  // All at once: each speaks ten times, and all have the same sixty messages.
  await Promise.all(members.map((member, number) => sayTen(member, number)));
  const heard = await Promise.all(members.map(member => nextOf(member, member.name === 'Newt' ? 50 : 60)));
  const [ofPage] = heard;
  for (const [at, texts] of heard.entries()) {
    const expected = at === 1 ? ofPage!.filter(text => !text.startsWith('Newt: ')) : ofPage;
    assert.deepEqual(texts, expected, `member ${at}`);
  }
});

async function sayTen(member: Member, number: number): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await member.say(`${turn} of ${number} at once`);
}

async function nextOf(member: Member, count: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < count) texts.push(await member.next());
  return texts;
}
