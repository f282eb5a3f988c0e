/** Rooms are channels: users and subscribers receive each other's messages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newRoomRule } from '../../../src/handlers/chat/names.ts';
import { textOf } from '../../../src/handlers/chat/room.ts';
import { PacketCommand } from '../../../src/protocol/tpacket.ts';
import { connectMember, connectUser, expectHeard, hearAll, said } from '../../support/chatClient.ts';
import { askServer, commandWays, openServer } from '../../support/commandWays.ts';
import { connectLines, connectTerminal, linesSoFar } from '../../support/lineClient.ts';
import { connectRaw } from '../../support/rawClient.ts';
import { startServerFor } from '../../support/serverProcess.ts';

const overHttp = commandWays.find(({ name }) => name === 'HTTP, as JSON')!;

test('messages of a room reach the subscribers of its channel, and publications reach the room', async t => {
  const server = await openServer(t);
  const { port } = server;
  const subscriber = await connectRaw(port, { path: '/channels/pond?format=json' });
  const first = JSON.parse((await subscriber.nextFrame())!.payload.toString()) as { last: string };
  const [epoch] = first.last.split('-');
  const ada = await connectMember(port, 'ada', 'Pond');
  const newt = await connectTerminal(port, 'newt');
  newt.send('/join POND\n');
  await linesSoFar(newt);
  await hearAll(ada);
  ada.send(PacketCommand.NewMsg, 'hello');
  await expectHeard(ada, said(4096, 'hello'));
  assert.equal(await newt.line(), 'ada: hello');
  const next = async () => JSON.parse((await subscriber.nextFrame())!.payload.toString()) as unknown;
  assert.deepEqual(await next(), { id: `${epoch}-1`, channel: 'pond', from: 'ada', data: 'hello' });
  assert.equal((await overHttp.call(server, ['publish', 'pond', 'news'])).stdout.split('\n')[0], 'sent: 3');
  await expectHeard(ada, 'LOGGED_MSG uid=-1 p1=0 p2=0 "server: news"');
  assert.equal(await newt.line(), 'server: news');
  assert.deepEqual(await next(), { id: `${epoch}-2`, channel: 'pond', data: 'news' });
  const bob = await connectMember(port, 'bob', 'pond');
  const logged = (await hearAll(bob)).filter(text => text.startsWith('LOGGED_MSG'));
  assert.deepEqual(
    logged.map(text => text.slice(text.indexOf('"'))),
    ['"ada: hello"', '"server: news"'],
  );
});

test('--rooms says which channels are rooms, and entering another is refused with a sentence', async t => {
  const { port } = await startServerFor(t, '--rooms', 'pond', '--rooms', 'Team *');
  const ada = await connectUser(port, 'ada');
  ada.send(PacketCommand.SetRoom, 'orders', { uid: 7 });
  assert.equal(await ada.hear(), 'RESP_ERROR uid=7 p1=-1 p2=0 "this server has no room orders"');
  ada.send(PacketCommand.SetRoom, 'TEAM one', { uid: 8 });
  assert.equal(await ada.hear(), 'RESP_OK uid=8 p1=0 p2=0');
  const newt = await connectLines(port);
  newt.send('newt\n/who\nhello\n/join pond\n/who\n/quit\n');
  const lines = await newt.rest();
  const from = lines.indexOf('! this server has no room lobby');
  assert.ok(from >= 0, lines.join('\n'));
  assert.deepEqual(lines.slice(from + 1), [
    '! you are in no room; enter one with /join ROOM',
    '! enter a room first',
    '* this is pond',
    '* newt is here',
    '* 1 in pond: newt',
    '* goodbye',
  ]);
});

test('a reload of --rooms applies to users who are in a room already', async t => {
  const server = await openServer(t);
  const ada = await connectMember(server.port, 'ada', 'orders');
  await hearAll(ada);
  assert.equal((await askServer(server, 'set', 'rooms', 'pond')).stderr, '');
  ada.send(PacketCommand.NewMsg, 'forged', { uid: 9 });
  assert.equal(await ada.hear(), 'RESP_ERROR uid=9 p1=-1 p2=0 "this server has no room orders"');
  assert.equal((await askServer(server, '--json', 'history', 'orders')).stdout, '[]\n');
});

test('with --rooms none, users read that the server has no chat rooms', async t => {
  const { port } = await startServerFor(t, '--rooms', 'none');
  const ada = await connectUser(port, 'ada');
  ada.send(PacketCommand.SetRoom, 'lobby', { uid: 7 });
  assert.equal(await ada.hear(), 'RESP_ERROR uid=7 p1=-1 p2=0 "this server has no chat rooms"');
  const newt = await connectLines(port);
  newt.send('newt\n/join pond\n/quit\n');
  const refusals = (await newt.rest()).filter(line => line.startsWith('! '));
  assert.deepEqual(refusals, ['! this server has no chat rooms', '! this server has no chat rooms']);
});

test('a pattern matches names by its parts in order, folded as names are', () => {
  const matches = (patterns: string[], ...keys: string[]) => keys.filter(newRoomRule(patterns));
  assert.deepEqual(matches(['*'], 'a', 'b/c'), ['a', 'b/c']);
  assert.deepEqual(matches(['none'], 'a', 'none'), []);
  assert.deepEqual(matches(['Pond', 'lake'], 'pond', 'ponds', 'lake'), ['pond', 'lake']);
  assert.deepEqual(matches(['a*b*c'], 'abc', 'a1b2c', 'ab', 'acb', 'abcx'), ['abc', 'a1b2c']);
  assert.deepEqual(matches(['ab*ba'], 'aba', 'abba'), ['abba']);
  assert.deepEqual(matches(['team *'], 'team 1', 'team', 'teams'), ['team 1']);
});

test('bytes that are not text, and texts too long for a packet, are described in the room', () => {
  const shown = (kind: 'text' | 'json' | 'bytes', data: Buffer) => textOf({ kind, data }).toString();
  assert.equal(shown('json', Buffer.from('{"a":1}')), '{"a":1}');
  assert.equal(shown('bytes', Buffer.from('é')), 'é');
  assert.equal(shown('bytes', Buffer.alloc(12, 255)), '[binary message of 12 bytes]');
  assert.equal(shown('text', Buffer.alloc(70_000, 97)), '[long message of 70000 bytes]');
});
