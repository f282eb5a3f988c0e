import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flushFanout, join, leave, newGroup, publishToGroup } from '../../src/core/fanout.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { newBroadcastHandler } from '../../src/handlers/broadcast.ts';
import type { Message } from '../../src/protocol/websocket/message.ts';
import type { Connection } from '../../src/records/records.ts';
import { websocket } from '../../src/wires/websocket.ts';
import { newFakeServer, openFakeConnection, queuedBytes } from '../support/fakeSocket.ts';
import { frame, opcode } from '../support/rawFrame.ts';

const text = (words: string): Message => ({
  isText: true,
  bytes: Buffer.from(words),
  start: 0,
  end: words.length,
});
const server = newFakeServer();
const open = () => openFakeConnection(server, undefined).connection;

function told(connection: Connection): string {
  flushFanout(connection.server);
  return queuedBytes(connection).toString('latin1');
}

test('publish sends to every member except the excluded one', () => {
  const group = newGroup();
  const [a, b, c, stranger] = [open(), open(), open(), open()];
  for (const member of [a, b, c]) join(group, member);
  publishToGroup(group, text('one'));
  publishToGroup(group, text('two'), { except: a });
  leave(group, b);
  leave(group, stranger);
  publishToGroup(group, text('three'));
  join(group, b);
  publishToGroup(group, text('four'));
  assert.equal(told(a), '\x81\x03one\x81\x05three\x81\x04four');
  assert.equal(told(b), '\x81\x03one\x81\x03two\x81\x04four');
  assert.equal(told(c), '\x81\x03one\x81\x03two\x81\x05three\x81\x04four');
  assert.equal(told(stranger), '');
});

test('a connection that joins twice gets each message once', () => {
  const group = newGroup();
  const member = open();
  join(group, member);
  join(group, member);
  publishToGroup(group, text('hi'));
  assert.equal(told(member), '\x81\x02hi');
});

test('publishing to an empty group does nothing', () => {
  publishToGroup(newGroup(), text('hello?'));
});

for (const includeSender of [true, false]) {
  test(`the broadcast handler ${includeSender ? 'includes the sender' : 'leaves out the sender with --no-self'}`, () => {
    const handler = newBroadcastHandler();
    const server = newFakeServer(...(includeSender ? [] : ['--no-self']));
    const openHere = () => openFakeConnection(server, handler).connection;
    const [sender, other, gone] = [openHere(), openHere(), openHere()];
    for (const connection of [sender, other, gone]) handler.opened?.(connection);
    handler.closed?.(gone, 1000, '');
    handler.message(sender, text('hi'));
    assert.deepEqual(
      [told(sender), told(other), told(gone)],
      [includeSender ? '\x81\x02hi' : '', '\x81\x02hi', ''],
    );
  });
}

test('a member whose connection is failed right after its message gets the message before the close frame', () => {
  const handler = newBroadcastHandler();
  const { connection } = openFakeConnection(newFakeServer(), handler);
  handler.opened?.(connection);
  const bytes = Buffer.concat([frame(opcode.text, 'hi'), frame(0xb, '')]);
  readSocketData(connection, bytes, 0, bytes.length);
  assert.match(told(connection), /^\x81\x02hi\x88.\x03\xea/s);
});

test('a member that is closed right after a message gets the message before the close frame [5.5.1-8]', () => {
  const group = newGroup();
  const member = open();
  join(group, member);
  publishToGroup(group, text('hi'));
  websocket.close(member, 1001, '');
  assert.equal(told(member), '\x81\x02hi\x88\x02\x03\xe9');
});
