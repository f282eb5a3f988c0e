/** Accepting: libuv accepts one connection per poll, so a turn after each poll would make accepting slow. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { openServer, run } from '../support/commandWays.ts';
import { roundTrip } from '../support/echoProbe.ts';
import { connectRaw, type RawClient } from '../support/rawClient.ts';
import { frame, opcode } from '../support/rawFrame.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

interface Info {
  readonly connections: number;
  readonly counters: { readonly turns: number; readonly accepted: number };
}

const crowd = 400;

for (const sockets of ['auto', 'stream']) {
  for (const transport of ['TCP', 'Unix']) {
    test(`the server accepts a full backlog in a few turns, not one turn per connection (${transport}, --sockets ${sockets})`, async t => {
      const folder = temporaryFolder();
      const path = join(folder, 'server.sock');
      const server = await openServer(t, '--sockets', sockets, '--listen', `unix:${path}`);
      const info = async () =>
        JSON.parse((await run(['--control', server.control, 'info', '--json'])).stdout) as Info;
      const before = await info();
      server.child.kill('SIGSTOP');
      const clients: Socket[] = [];
      for (let i = 0; i < crowd; i++) {
        const client = transport === 'TCP' ? connect(server.port, '127.0.0.1') : connect({ path });
        clients.push(client.on('error', () => {}));
      }
      // The kernel completes TCP handshakes even while the process is stopped.
      await Promise.all(clients.map(client => once(client, 'connect')));
      server.child.kill('SIGCONT');
      let after = await info();
      while (after.counters.accepted - before.counters.accepted < crowd) after = await info();
      assert.ok(
        after.counters.turns - before.counters.turns < crowd / 4,
        `${after.counters.turns - before.counters.turns} turns for ${crowd} connections`,
      );
      for (const client of clients) client.destroy();
    });
  }
}

test('connections that send large messages during a burst of new connections lose no data and stay responsive', async t => {
  const server = await openServer(t);
  const talkers: RawClient[] = [];
  for (let i = 0; i < 8; i++) talkers.push(await connectRaw(server.port, { path: '/echo' }));
  const large = Buffer.alloc(3_000_000, 'x');
  const clients: Socket[] = [];
  for (let round = 0; round < 5; round++) {
    for (const talker of talkers) talker.send(frame(opcode.binary, large));
    for (let i = 0; i < 200; i++) clients.push(connect(server.port, '127.0.0.1').on('error', () => {}));
    for (const talker of talkers) assert.ok((await talker.nextFrame())!.payload.equals(large));
  }
  await Promise.all(talkers.map(talker => roundTrip(talker)));
  for (const client of [...clients, ...talkers]) client.destroy();
});
