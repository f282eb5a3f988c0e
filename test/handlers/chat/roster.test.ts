/** Clients enter, talk and leave in bursts: nobody gets a message of a user they were not told of. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import {
  binary,
  type ChatClient,
  connectChat,
  connectMember,
  magicPacket,
  packetBytes,
} from '../../support/chatClient.ts';
import { type OriginalModel, watch } from '../../support/originalModel.ts';
import { newRandom } from '../../support/random.ts';
import { startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const bursts = 60;
const people = 20;

interface Member {
  readonly client: ChatClient;
  readonly model: OriginalModel;
  readonly sent: string[];
}

for (const data of [false, true]) {
  test(`${people} clients that enter, talk and leave in bursts get all notices in order ${data ? '(with --data)' : ''}`, {
    timeout: 60_000,
  }, async t => {
    const directory = temporaryFolder();
    const server = await startServerFor(t, ...(data ? ['--data', directory] : []));
    const seed = data ? 6455 : 25021;
    t.diagnostic(`seed ${seed}`);
    const random = newRandom(seed);
    const watched: Member[] = [];
    const observe = async (nick: string, wire: 'websocket' | 'tcp'): Promise<Member> => {
      const client = await connectMember(server.port, nick, 'pond', { wire });
      const member = { client, model: watch(client), sent: [] };
      watched.push(member);
      return member;
    };
    const observers = [await observe('eagle', 'websocket'), await observe('owl', 'tcp')];
    const members: Member[] = [];
    let nextNick = 0;
    const come = async () => {
      const wire = random.pick(['websocket', 'tcp'] as const);
      const nick = `n${nextNick++}`;
      const first = [
        magicPacket,
        packetBytes(PacketCommand.SetUserNick, nick),
        packetBytes(PacketCommand.SetRoom, 'pond'),
        ...Array.from({ length: random.below(3) }, (_, i) =>
          packetBytes(PacketCommand.NewMsg, `${nick} first ${i}`),
        ),
      ];
      const all = Buffer.concat(first);
      const client = await connectChat(server.port, nick, {
        wire,
        first: [wire === 'tcp' ? all : binary(all)],
      });
      const member = { client, model: watch(client), sent: [] };
      members.push(member);
      watched.push(member);
    };
    const talk = ({ client, sent }: Member) => {
      for (let i = random.below(4); i > 0; i--) {
        // Some are long enough for the path of long messages.
        const text = `${client.name} ${sent.length}${random.oneIn(4) ? 'x'.repeat(1500) : ''}`;
        sent.push(text);
        client.send(PacketCommand.NewMsg, text);
      }
    };
    const leave = async ({ client }: Member) => {
      if (random.oneIn(3)) client.socket.resetAndDestroy();
      else await client.leave();
    };
    for (let burst = 0; burst < bursts; burst++) {
      const deeds: Promise<void>[] = [];
      for (const observer of observers) talk(observer);
      for (const member of [...members]) {
        talk(member);
        if (!random.oneIn(4)) continue;
        members.splice(members.indexOf(member), 1);
        deeds.push(leave(member));
      }
      while (members.length + deeds.length < people && random.below(3) > 0) deeds.push(come());
      await Promise.all(deeds);
    }
    // The last message: a member who gets it has everything.
    const [eagle, owl] = observers as [Member, Member];
    const present = [...observers, ...members];
    await eagle.model.until(() => eagle.model.users.size === present.length);
    // Earlier messages of others may be read later, as they came on other connections: wait for them.
    for (const { model, sent } of present) {
      const own = sent.at(-1);
      if (own !== undefined) await model.until(() => model.messages.some(said => said.endsWith(`: ${own}`)));
    }
    eagle.client.send(PacketCommand.NewMsg, 'the end');
    const [lastUid] = [...eagle.model.users].find(([, nick]) => nick === 'eagle')!;
    const last = `${lastUid}: the end`;
    for (const { model } of present) await model.until(() => model.messages.at(-1) === last);

    for (const { model } of watched) assert.equal(model.fault(), undefined, `seed ${seed}`);
    for (const { client, model } of present) {
      assert.deepEqual([...model.users.values()].sort(), present.map(({ client: { name } }) => name).sort());
      assert.deepEqual(model.refusals, []);
      const all = eagle.model.messages;
      assert.deepEqual(
        model.messages,
        all.slice(all.length - model.messages.length),
        `${client.name}, seed ${seed}`,
      );
    }
    for (const { client, sent } of present) {
      const heard = eagle.model.messages.map(message => message.slice(message.indexOf(' ') + 1));
      const own = heard.filter(text => text.startsWith(`${client.name} `) && !text.includes(' first '));
      assert.deepEqual(own, sent);
    }
    assert.ok(owl.model.messages.length > bursts);
    t.diagnostic(`${eagle.model.messages.length} messages, ${nextNick} came, ${eagle.model.count()} packets`);
    assert.deepEqual(
      server.logged().filter(({ level }) => level === 'error'),
      [],
    );
  });
}
