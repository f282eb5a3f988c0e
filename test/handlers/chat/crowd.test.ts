/** A room of a thousand members, some of whom do not read: the others get everything in order, in bounded memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { type ChatClient, connectMember } from '../../support/chatClient.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { watch } from '../../support/originalModel.ts';
import { MiB, peakMemory, residentMemory } from '../../support/processState.ts';
import { startServerFor } from '../../support/serverProcess.ts';

const members = 1000;
const stalled = 50;
const messageSize = 16_000;
/** Messages in one write of the speaker. */
const messagesARound = 16;
const maxRounds = 40;

/** Bytes of a delivered message: the headers of frame and packet, and the text. */
const delivered = 4 + 24 + messageSize;

interface Counter {
  readonly name: string;
  received: number;
  /** The first message that differs from the expected one. */
  wrong: string | undefined;
}

/** Expects frames of one size from now on, and checks the number that each text begins with. */
function countMessages({ name, socket }: ChatClient, numbers: Buffer): Counter {
  const counter: Counter = { name, received: 0, wrong: undefined };
  socket.removeAllListeners('data');
  socket.on('data', (bytes: Buffer) => {
    // The text of the message begins 28 bytes into its frame; the number has 8.
    for (let at = 0; at < bytes.length; ) {
      const place = (counter.received + at) % delivered;
      if (place >= 28 && place < 36) {
        const number = Math.floor((counter.received + at) / delivered);
        if (bytes[at] !== numbers[number * 8 + place - 28]) counter.wrong ??= `message ${number}`;
        at++;
      } else {
        at += place < 28 ? 28 - place : delivered + 28 - place;
      }
    }
    counter.received += bytes.length;
  });
  return counter;
}

test(`a room of ${members} serves all but the ${stalled} members who do not read`, {
  timeout: 60_000,
}, async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  // The test counts bytes: on a slow machine there must be no pings and no timeouts among them.
  const patient = ['--ping-interval', '0', '--close-timeout', '5m'];
  const server = await startServerFor(t, '--log-level', 'warn', '--max-buffered', '256KB', ...patient);
  const clients: ChatClient[] = [];
  let begun = 0;
  const comeOn = async () => {
    while (begun < members) clients.push(await connectMember(server.port, `member ${begun++}`, 'pond'));
  };
  await Promise.all(Array.from({ length: 20 }, comeOn));
  const models = clients.map(watch);
  for (const model of models) await model.until(() => model.users.size === members);
  for (const model of models) assert.equal(model.fault(), undefined);
  const memory = residentMemory(server.pid);

  const numbers = Buffer.from(
    Array.from({ length: maxRounds * messagesARound }, (_, i) => String(i).padStart(8, '0')).join(''),
  );
  const [speaker] = clients as [ChatClient];
  for (const { socket } of clients.slice(-stalled)) socket.pause();
  const counters = clients.slice(0, -stalled).map(client => countMessages(client, numbers));
  const fallen = () => server.logged().filter(({ event }) => event === 'slow consumer closed').length;
  let rounds = 0;
  let highest = 0;
  while (rounds < maxRounds && fallen() < stalled) {
    for (let i = 0; i < messagesARound; i++) {
      const text = String(rounds * messagesARound + i)
        .padStart(8, '0')
        .padEnd(messageSize, 'x');
      speaker.send(PacketCommand.NewMsg, text);
    }
    rounds++;
    const due = rounds * messagesARound * delivered;
    while (counters.some(({ received }) => received < due)) {
      assert.ok(!clients[1]!.isOver(), 'a member who reads stays');
      await new Promise(setImmediate);
    }
    highest = Math.max(highest, residentMemory(server.pid));
  }
  const total = rounds * messagesARound;
  const inOrder = counters.filter(
    ({ wrong, received }) => wrong === undefined && received === total * delivered,
  );
  assert.equal(
    inOrder.length,
    members - stalled,
    JSON.stringify(counters.find(({ wrong }) => wrong !== undefined)),
  );

  // Stalled members who are still there catch up; the others get the reason for their close.
  let caughtUp = 0;
  let toldWhy = 0;
  const late = models.slice(-stalled);
  for (const { socket } of clients.slice(-stalled)) socket.resume();
  for (const [i, model] of late.entries()) {
    const client = clients[members - stalled + i]!;
    await model.until(() => model.messages.length === total);
    const heard = model.messages.map(text => text.slice(text.indexOf(' ') + 1, text.indexOf(' ') + 9));
    assert.deepEqual(
      heard,
      heard.map((_, number) => String(number).padStart(8, '0')),
    );
    assert.equal(model.fault(), undefined);
    if (heard.length === total) caughtUp++;
    else {
      assert.equal(await client.ended, '1013 too far behind');
      toldWhy++;
    }
  }
  const figures = [highest - memory, peakMemory(server.pid)].map(bytes => `${(bytes / MiB).toFixed(0)} MiB`);
  t.diagnostic(
    `${total} messages of ${messageSize} bytes; of ${stalled} stalled ${toldWhy} were told 1013, ${caughtUp} caught up; ` +
      `RSS grew by ${figures[0]}, peak ${figures[1]}`,
  );
  assert.equal(toldWhy + caughtUp, stalled);
  assert.ok(highest - memory < 200 * MiB);
  for (const { socket } of clients) socket.destroy();
});
