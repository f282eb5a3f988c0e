/** Commands and polling clients, which are connections in the table like all others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { magicPacket, packetBytes } from '../../support/chatClient.ts';
import { askServer, openServer } from '../../support/commandWays.ts';
import { openPolled, openStream, pollMany, pollOnce, post } from '../../support/pollClient.ts';

test('list, send, disconnect and ping work for polling clients', { timeout: 60_000 }, async t => {
  const server = await openServer(t);
  const { port } = server;
  const call = (...words: string[]) => askServer(server, '--json', ...words);
  const polled = await openPolled(port, 'tpacket');
  const streamed = await openPolled(port, 'echo');
  const stream = await openStream(port, streamed);
  await stream.until('retry');
  await post(port, polled, Buffer.concat([magicPacket, packetBytes(PacketCommand.SetUserNick, 'ada')]));
  assert.equal((await pollMany(port, polled, 1)).messages.length, 1);

  const { stdout } = await call('list');
  const rows = JSON.parse(stdout) as { id: number; wire: string; handler: string; nick: string | null }[];
  const byWire = new Map(rows.map(row => [row.wire, row]));
  assert.deepEqual([byWire.get('poll')?.handler, byWire.get('poll')?.nick], ['tpacket', 'ada']);
  assert.equal(byWire.get('sse')?.handler, 'echo');
  const [pollId, sseId] = [`${byWire.get('poll')?.id}`, `${byWire.get('sse')?.id}`];

  assert.equal((await call('send', sseId, 'to you')).stderr, '');
  await stream.until('{"seq":1,"text":"to you"}');
  const refused = await call('ping', sseId);
  assert.match(refused.stderr, /is not a WebSocket/);
  assert.equal((await call('disconnect', pollId, '4001', 'enough')).stderr, '');
  assert.deepEqual((await pollOnce(port, polled, 1)).closed, { code: 4001, reason: 'enough' });
  assert.equal((await call('disconnect', sseId)).stderr, '');
  await stream.until('event: closed\ndata: {"code":1000,');
  await stream.ended;
});
