import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { constants, inflateRawSync } from 'node:zlib';
import {
  finishFanouts,
  flushFanout,
  join,
  leave,
  newGroup,
  publishToGroup,
  sendToAll,
  wholeMessage,
} from '../../src/core/fanout.ts';
import { sendControl, sendMessage } from '../../src/core/send.ts';
import { echo } from '../../src/handlers/echo.ts';
import { giveBuffer, takeBuffer } from '../../src/protocol/buffers.ts';
import { maxAlwaysCompressed } from '../../src/protocol/limits.ts';
import { newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import { maxHeaderSize } from '../../src/protocol/websocket/frame.ts';
import { ioArena } from '../../src/protocol/websocket/mask.ts';
import type { Message } from '../../src/protocol/websocket/message.ts';
import { slotSize } from '../../src/records/arena.ts';
import type { Connection } from '../../src/records/records.ts';
import { newFakeServer, openFakeConnection, queuedBytes, sendText } from '../support/fakeSocket.ts';
import { FrameReader, type RawFrame } from '../support/rawFrame.ts';

const server = newFakeServer();
const open = (deflater?: Parameters<typeof openFakeConnection>[2]) =>
  openFakeConnection(server, undefined, deflater).connection;

function tellAll(members: readonly Connection[], bytes: Uint8Array, except?: Connection): void {
  sendToAll(members, except, wholeMessage(true, bytes));
  finishFanouts(members[0]!.server);
}

function framesOf(bytes: Buffer): RawFrame[] {
  const reader = new FrameReader();
  reader.add(bytes);
  const frames: RawFrame[] = [];
  for (let next = reader.next(); next !== undefined; next = reader.next()) frames.push(next);
  assert.equal(reader.rest().length, 0);
  return frames;
}

function inflated({ payload }: RawFrame): string {
  const tail = Buffer.from([0, 0, 0xff, 0xff]);
  return inflateRawSync(Buffer.concat([payload, tail]), { finishFlush: constants.Z_SYNC_FLUSH }).toString();
}

test('a message outside the arena is copied exactly, both by the loop and through a view', () => {
  const bytes = randomBytes(2000);
  for (const length of [0, 1, 7, 127, 128, 129, 1000]) {
    const connection = open();
    sendMessage(connection, false, bytes, 3, 3 + length);
    sendMessage(connection, false, bytes, 1500, 1501);
    const [first, second] = framesOf(queuedBytes(connection));
    assert.deepEqual(first?.payload, bytes.subarray(3, 3 + length));
    assert.deepEqual(second?.payload, bytes.subarray(1500, 1501));
  }
});

test('a message is sent as one unmasked frame with the shortest length field [5.1-4, 5.1-7, 6.1-1, 6.1-4, 6.1-7]', () => {
  const headers: [number, string][] = [
    [0, '8200'],
    [1, '8201'],
    [125, '827d'],
    [126, '827e007e'],
    [65_535, '827effff'],
    [65_536, '827f0000000000010000'],
    [1_000_000, '827f00000000000f4240'],
  ];
  for (const [size, header] of headers) {
    const connection = open();
    const payload = Buffer.alloc(size, 'payload');
    sendMessage(connection, false, payload, 0, size);
    assert.deepEqual(queuedBytes(connection), Buffer.concat([Buffer.from(header, 'hex'), payload]));
  }
});

test('two texts are queued as UTF-8 in one range [6.1-6]', () => {
  const connection = open();
  sendText(connection, 'Hello');
  sendText(connection, 'Käse');
  assert.equal(queuedBytes(connection).toString('hex'), '810548656c6c6f81054bc3a47365');
  assert.equal(connection.queue.earlier, undefined);
  assert.equal(connection.messagesOut, 2);
});

test('a control frame is sent with its payload [5.4-2, 5.5-1, 5.5.2-1, 7692-6-2, 7692-6-6]', () => {
  const connection = open();
  sendControl(connection, 9, { bytes: Buffer.from('abc'), start: 1, end: 3 });
  assert.equal(queuedBytes(connection).toString('hex'), '89026263');
});

test('a message whose payload is in the I/O arena is queued before the arena is overwritten', () => {
  const connection = open();
  ioArena.write('from the turn', 1000);
  sendMessage(connection, true, ioArena, 1000, 1013);
  ioArena.fill(0, 1000, 1013);
  assert.equal(queuedBytes(connection).toString('latin1', 2), 'from the turn');
});

test('nothing is sent to a connection that is closing [5.5.1-5, 6.1-2, 6.1-3]', () => {
  const connection = open();
  connection.endpoint!.state = 'CLOSING';
  sendText(connection, 'too late');
  tellAll([connection], Buffer.from('too late'));
  assert.equal(connection.queue.size, 0);
  assert.equal(connection.messagesOut, 0);
});

test('messages of 1024 bytes or more are compressed, shorter ones are not [5.2-2, 7692-6-4, 7692-6.1-1, 7692-6.1-2]', () => {
  const connection = open(newDeflateContext(false, 15));
  sendText(connection, 'x'.repeat(1023));
  sendText(connection, 'x'.repeat(1024));
  const [short, long] = framesOf(queuedBytes(connection));
  assert.deepEqual([short!.rsv, short!.payload.length], [0, 1023]);
  assert.deepEqual([long!.rsv, long!.opcode], [4, 1]);
  assert.ok(long!.payload.length < 100);
  assert.equal(inflated(long!), 'x'.repeat(1024));
});

test('a large message that compresses badly is sent uncompressed and stays out of the context', () => {
  const connection = open(newDeflateContext(true, 15));
  const noise = randomBytes(2 * maxAlwaysCompressed);
  sendMessage(connection, false, noise, 0, noise.length);
  const large = Buffer.alloc(2 * maxAlwaysCompressed, 'large, but it compresses well, ');
  sendMessage(connection, false, large, 0, large.length);
  sendMessage(connection, false, noise, 0, maxAlwaysCompressed);
  const [tooSlow, quick, longest] = framesOf(queuedBytes(connection));
  assert.deepEqual([tooSlow!.rsv, quick!.rsv, longest!.rsv], [0, 4, 4]);
  assert.deepEqual(tooSlow!.payload, noise);
  assert.deepEqual(inflateRawSync(quick!.payload, { finishFlush: constants.Z_SYNC_FLUSH }), large);
});

test('a broadcast is compressed for only as many window sizes as cost no more than the largest message', () => {
  const members = [9, 15, 9, 10, 15].map(bits => open(newDeflateContext(false, bits)));
  tellAll(members, Buffer.alloc(maxAlwaysCompressed / 2, 'x'));
  assert.deepEqual(
    members.map(member => framesOf(queuedBytes(member))[0]!.rsv),
    [4, 4, 4, 0, 4],
  );
  tellAll(members, Buffer.alloc(2 * maxAlwaysCompressed, 'x'));
  assert.deepEqual(
    members.map(member => framesOf(queuedBytes(member))[1]!.rsv),
    [4, 0, 4, 0, 0],
  );
});

/** A long message as it is received: with room for a header before it. */
function received(size: number): Message {
  const bytes = Buffer.alloc(maxHeaderSize + size, 'received');
  return { isText: false, bytes, start: maxHeaderSize, end: bytes.length };
}

test('a long message is sent back, and on to others, without a copy; a short one is copied', () => {
  for (const [size, isCopied] of [
    [slotSize, true],
    [slotSize + 1, false],
  ] as const) {
    const message = received(size);
    const payload = Buffer.from(message.bytes.subarray(message.start));
    const [sender, ...members] = [open(), open(), open()];
    echo.message(sender!, message);
    const group = newGroup();
    for (const member of members) join(group, member);
    publishToGroup(group, message, { isKept: true });
    finishFanouts(server);
    for (const { queue } of [sender!, ...members]) {
      assert.equal(queue.chunk!.bytes !== message.bytes, isCopied);
    }
    for (const connection of [sender!, ...members]) {
      const [echo] = framesOf(queuedBytes(connection));
      assert.deepEqual([echo!.opcode, echo!.payload], [2, payload]);
    }
  }
});

test('a buffer that a queue refers to does not return to the pool, and the memory counts', () => {
  const bytes = takeBuffer(slotSize + 100);
  const connection = open();
  const { held } = server.arena;
  echo.message(connection, { isText: true, bytes, start: maxHeaderSize, end: bytes.length });
  assert.equal(server.arena.held - held, bytes.length);
  giveBuffer(bytes);
  assert.notEqual(takeBuffer(slotSize + 100), bytes);
});

test('a message that a client must get compressed, or that is a small part of its buffer, is copied', () => {
  const message = received(slotSize + 1);
  const compressing = open(newDeflateContext(false, 15));
  echo.message(compressing, message);
  assert.equal(framesOf(queuedBytes(compressing))[0]!.rsv, 4);
  const bytes = Buffer.alloc(3 * slotSize);
  const plain = open();
  echo.message(plain, { isText: false, bytes, start: maxHeaderSize, end: maxHeaderSize + slotSize + 1 });
  assert.notEqual(plain.queue.chunk!.bytes, bytes);
});

test('a broadcast is serialised once, and all queues refer to the same bytes of the same chunk', () => {
  const members = [open(), open(), open()];
  tellAll(members, Buffer.from('to all'));
  const [first] = members;
  for (const member of members) {
    assert.equal(queuedBytes(member).toString('latin1'), '\x81\x06to all');
    assert.equal(member.queue.chunk, first!.queue.chunk);
    assert.deepEqual([member.queue.start, member.queue.end], [first!.queue.start, first!.queue.end]);
  }
});

test('a broadcast is compressed once per window size, and sent plain to connections without compression', () => {
  const text = 'a long text, '.repeat(200);
  const plain = [open(), open()];
  const small = [open(newDeflateContext(false, 9)), open(newDeflateContext(false, 9))];
  const wide = [open(newDeflateContext(false, 15)), open(newDeflateContext(false, 15))];
  tellAll([...plain, ...small, ...wide], Buffer.from(text));
  for (const [one, other] of [plain, small, wide]) {
    assert.deepEqual([one!.queue.chunk, one!.queue.start], [other!.queue.chunk, other!.queue.start]);
  }
  assert.equal(framesOf(queuedBytes(plain[0]!))[0]!.payload.toString(), text);
  for (const member of [small[0]!, wide[0]!]) {
    const [frame] = framesOf(queuedBytes(member));
    assert.equal(frame!.rsv, 4);
    assert.equal(inflated(frame!), text);
  }
  assert.notEqual(small[0]!.queue.start, wide[0]!.queue.start);
});

test('broadcasts and single messages reach each recipient in the order in which they were sent', () => {
  const members = [open(), open()];
  const [one, other] = members;
  const say = (words: string, except?: Connection) =>
    sendToAll(members, except, wholeMessage(true, Buffer.from(words)));
  say('a');
  say('b');
  sendText(one!, 'c');
  say('d');
  say('e', one);
  say('f');
  flushFanout(server);
  assert.equal(queuedBytes(one!).toString('latin1'), '\x81\x01a\x81\x01b\x81\x01c\x81\x01d\x81\x01f');
  assert.equal(queuedBytes(other!).toString('latin1'), '\x81\x01a\x81\x01b\x81\x01d\x81\x01e\x81\x01f');
  assert.deepEqual([one!.messagesOut, other!.messagesOut], [5, 5]);
});

test('a message to a connection outside the group leaves the fan-out to the group pending, one to a member does not', () => {
  const [member, leaver, stranger] = [open(), open(), open()];
  const group = newGroup();
  for (const connection of [member, leaver]) join(group, connection);
  const say = (words: string) => publishToGroup(group, wholeMessage(true, Buffer.from(words)));
  say('a');
  sendText(stranger, 'x');
  assert.equal(member.queue.size, 0);
  sendText(member, 'b');
  say('c');
  leave(group, leaver);
  sendText(leaver, 'd');
  say('e');
  flushFanout(server);
  assert.equal(queuedBytes(member).toString('latin1'), '\x81\x01a\x81\x01b\x81\x01c\x81\x01e');
  assert.equal(queuedBytes(leaver).toString('latin1'), '\x81\x01a\x81\x01c\x81\x01d');
  assert.equal(queuedBytes(stranger).toString('latin1'), '\x81\x01x');
});

test('a broadcast is also compressed once for connections that keep their context, and later messages refer to it', () => {
  const keepers = [open(newDeflateContext(true, 15)), open(newDeflateContext(true, 15))];
  const noise = randomBytes(2000);
  tellAll(keepers, noise);
  sendMessage(keepers[0]!, false, noise, 0, noise.length);
  const [first, second] = framesOf(queuedBytes(keepers[0]!));
  const [other] = framesOf(queuedBytes(keepers[1]!));
  assert.deepEqual(other!.payload, first!.payload);
  assert.ok(second!.payload.length < first!.payload.length / 10, 'the second refers back to the first');
  // With the first message in its window, the receiver can inflate the second.
  const tail = Buffer.from([0, 0, 0xff, 0xff]);
  const payloads = [first!, second!].flatMap(({ payload }) => [payload, tail]);
  const all = inflateRawSync(Buffer.concat(payloads), { finishFlush: constants.Z_SYNC_FLUSH });
  assert.deepEqual(all, Buffer.concat([noise, noise]));
});

for (const size of [600, 6000])
  test(`a slow consumer of ${size}-byte messages is closed with 1013, and nothing more is queued for it`, () => {
    const server = newFakeServer('--max-buffered', String(1.5 * size));
    const { connection, socket } = openFakeConnection(server, undefined);
    const message = Buffer.alloc(size);
    const send = () => tellAll([connection], message);
    send();
    send();
    assert.equal(server.counters.fellBehind, 0, 'a socket whose writes complete is not a slow consumer');
    socket.isBusy = true;
    send();
    assert.equal(server.counters.fellBehind, 1);
    const [close, ...more] = framesOf(queuedBytes(connection));
    assert.deepEqual(more, []);
    assert.equal(close!.opcode, 8);
    assert.equal(close!.payload.readUInt16BE(), 1013);
    assert.equal(close!.payload.toString('latin1', 2), 'too far behind');
    send();
    assert.equal(server.counters.fellBehind, 1);
  });
