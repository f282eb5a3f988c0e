/** Rules of the RFCs that no other test file covers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeConnection } from '../../src/core/close.ts';
import { flush } from '../../src/core/flush.ts';
import { pauseMessages } from '../../src/core/processData.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { probeInterval } from '../../src/protocol/limits.ts';
import { deflateMessage, newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import { messageText } from '../../src/protocol/websocket/message.ts';
import type { Handler } from '../../src/records/records.ts';
import { websocket } from '../../src/wires/websocket.ts';
import { runClient, startRaw } from '../client/clientProcess.ts';
import { newRecord, plainServer, readEvents, setUpEndpoint } from '../support/endpointRun.ts';
import { newFakeServer, openFakeConnection, queuedBytes } from '../support/fakeSocket.ts';
import { connectRaw, connectTcp, exchange, handshakeRequest } from '../support/rawClient.ts';
import { closeFrame, closePayload, frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';

const limit = { timeout: 60_000 };

/** A connection without a network, and the messages and close codes that its handler received. */
function openConnection() {
  const got: (string | number)[] = [];
  const handler: Handler = {
    name: 'recorder',
    message: (_, message) => void got.push(messageText(message)),
    closed: (_, code) => void got.push(code),
  };
  const server = newFakeServer();
  const { connection, socket } = openFakeConnection(server, handler);
  connection.trustLevel = 3;
  const read = (...frames: Buffer[]) => {
    const bytes = Buffer.concat(frames);
    readSocketData(connection, bytes, 0, bytes.length);
  };
  return { server, connection, socket, got, read };
}

test('the server answers a close frame with its code, and ends TCP at once [5.5.1-6, 5.5.1-9, 5.5.1-10, 7.1.1-3, 7.1.1-5, 7.1.2-2]', () => {
  const { server, connection, socket, got, read } = openConnection();
  read(frame(opcode.text, 'last'), closeFrame(4001, 'bye'));
  assert.deepEqual(queuedBytes(connection), frame(opcode.close, closePayload(4001), { key: null }));
  assert.deepEqual([got, connection.phase], [['last', 4001], 'ending']);
  flush(server);
  assert.equal(socket.isShutDown, true);
});

test('the server fails a client that breaks a rule: it sends a close frame, records why, closes, and reads nothing more [7.1.7-1, 7.1.7-3, 7.1.7-4, 7.1.7-6, 10.7-2, 10.7-3]', () => {
  const { connection, got, read } = openConnection();
  const broken = frame(3);
  read(broken);
  const sent = queuedBytes(connection);
  assert.equal(sent[0], 0x88);
  assert.equal(sent.readUInt16BE(2), 1002);
  assert.match(connection.ending?.why ?? '', /^we failed it with 1002, for what the client sent: opcode 3/);
  assert.equal(connection.phase, 'ending');
  read(frame(opcode.ping, 'late'), frame(opcode.text, 'late'));
  assert.deepEqual([got, queuedBytes(connection)], [[1002], sent]);
});

test('the server starts the closing handshake with a close frame that has the code and the reason [7.1.2-1, 7.3-1]', () => {
  const { connection } = openConnection();
  closeConnection(connection, 4001, 'enough');
  assert.deepEqual(queuedBytes(connection), frame(opcode.close, closePayload(4001, 'enough'), { key: null }));
  assert.equal(connection.endpoint?.state, 'CLOSING');
});

test('a text frame that is not UTF-8 fails the connection with 1007 [5.6-1, 8.1-1, 10.7-1]', () => {
  const { connection, got, read } = openConnection();
  read(frame(opcode.text, Buffer.from('c328', 'hex')));
  assert.deepEqual([got, queuedBytes(connection).readUInt16BE(2)], [[1007], 1007]);
});

test('the server unmasks the payload of a ping before the pong echoes it [6.2-7]', () => {
  const { connection, read } = openConnection();
  read(frame(opcode.ping, 'Hello', { key: Buffer.from([1, 2, 3, 4]) }));
  assert.deepEqual(queuedBytes(connection), frame(opcode.pong, 'Hello', { key: null }));
});

test('the server sends unsolicited pongs on a connection that it does not read, to notice a lost peer [5.5.3-2]', () => {
  const { server, connection } = openConnection();
  pauseMessages(connection);
  connection.isReading = false;
  connection.heardAt = server.now;
  server.now += probeInterval;
  websocket.checkDeadlines(connection);
  assert.deepEqual(queuedBytes(connection), frame(opcode.pong, '', { key: null }));
});

test('the data frame after a fragmented message begins another message [6.2-4]', () => {
  const { got, read } = openConnection();
  const fragments = [frame(opcode.text, 'Hel', { fin: false }), frame(opcode.continuation, 'lo')];
  read(...fragments, frame(opcode.text, 'world'), ...fragments);
  assert.deepEqual(got, ['Hello', 'world', 'Hello']);
});

test('fragments of a compressed message are inflated together, and an uncompressed message is delivered as it is [7692-6-1, 7692-6-5, 7692-6.2-1, 7692-6.2-2]', () => {
  const endpoint = setUpEndpoint({ ...plainServer, compression: 'on' });
  const record = newRecord(endpoint);
  const text = 'a text that is not UTF-8 once it is compressed: äöü äöü äöü';
  const bytes = Buffer.from(text);
  const payload = deflateMessage(newDeflateContext(false, 15), bytes, 0, bytes.length);
  const compressed = [
    frame(opcode.text, payload.subarray(0, 9), { rsv: 4, fin: false }),
    frame(opcode.continuation, payload.subarray(9)),
  ];
  const plain = [frame(opcode.text, 'pla', { fin: false }), frame(opcode.continuation, 'in')];
  readEvents(record, Buffer.concat([...compressed, ...plain]));
  assert.deepEqual(record.lines, [`text ${JSON.stringify(text)}`, 'text "plain"']);
});

test(
  'the server answers an invalid handshake with an HTTP status and a reason, and reads nothing after it [4.2.1-1, 4.2.2-5, 7.2.2-1, 10.7-4]',
  limit,
  async t => {
    const { port } = await startServerFor(t);
    const request = handshakeRequest({ path: '/echo' });
    for (const [from, to, status] of [
      [/Sec-WebSocket-Key: .*/, 'Sec-WebSocket-Key: short', 400],
      [/Sec-WebSocket-Version: .*/, 'Sec-WebSocket-Version: 12', 426],
    ] as const) {
      const socket = await connectTcp(port);
      t.after(() => socket.destroy());
      socket.write(request.replace(from, to) + request);
      let answer = '';
      for await (const bytes of socket) {
        answer += bytes.toString('latin1');
        assert.doesNotMatch(answer, /HTTP\/1\.1 101/);
      }
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.match(answer, /Sec-WebSocket-(?:Key|Version) is not/);
    }
  },
);

test('the server answers a handshake for an unknown service with 404 [4.2.2-7]', limit, async t => {
  const { port } = await startServerFor(t, '--default-handler', 'none');
  assert.match(`${await exchange(port, handshakeRequest({ path: '/nothing' }))}`, /^HTTP\/1\.1 404 /);
});

test('RSV1 fails a connection that has not negotiated compression [5.8-1]', limit, async t => {
  const { port } = await startServerFor(t);
  const client = await connectRaw(port, { path: '/echo' });
  client.send(frame(opcode.text, 'hello', { rsv: 4 }));
  const answer = await client.nextFrame();
  assert.deepEqual([answer?.opcode, answer?.payload.readUInt16BE()], [opcode.close, 1002]);
  await client.end();
});

test(
  'pollywog-client sends a new key in each handshake, and nothing more before the response [4.1-25, 4.1-26, 4.1-35]',
  limit,
  async t => {
    const keys: string[] = [];
    let early = 0;
    const url = await startRaw(t, async ({ socket, request, response }) => {
      keys.push(...[...request.matchAll(/^Sec-WebSocket-Key: (\S+)/gim)].map(([, key = '']) => key));
      const count = (bytes: Buffer) => {
        early += bytes.length;
      };
      socket.on('data', count);
      for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
      socket.off('data', count).resume();
      socket.write(response);
      socket.end(frame(opcode.close, closePayload(1000), { key: null }));
    });
    for (let runs = 0; runs < 2; runs++) assert.equal((await runClient(t, [url], 'hello\n')).status, 0);
    assert.deepEqual(
      keys.map(key => Buffer.from(key, 'base64').length),
      [16, 16],
    );
    assert.notEqual(keys[0], keys[1]);
    assert.equal(early, 0);
  },
);

test('pollywog-client ends TCP itself if the server does not do so after the close frames [5.5.1-10, 7.1.1-4]', {
  timeout: 20_000,
}, async t => {
  const url = await startRaw(t, ({ socket, response }) => {
    socket.resume();
    socket.write(response);
    socket.write(frame(opcode.close, closePayload(1000), { key: null }));
  });
  assert.equal((await runClient(t, [url, '-w', 'forever'])).status, 0);
});

test('pollywog-client lets the server end TCP first after the close frames [7.1.1-5]', limit, async t => {
  const events: string[] = [];
  let note = () => {};
  const clientEnded = new Promise<void>(resolve => {
    note = resolve;
  });
  const url = await startRaw(t, ({ socket, response }) => {
    socket.on('end', () => {
      events.push('the client ends TCP');
      note();
    });
    socket.once('data', () =>
      setTimeout(() => {
        events.push('the server ends TCP');
        socket.end();
      }, 200),
    );
    socket.write(response);
    socket.write(frame(opcode.close, closePayload(1000), { key: null }));
  });
  assert.equal((await runClient(t, [url, '-w', 'forever'])).status, 0);
  await clientEnded;
  assert.deepEqual(events, ['the server ends TCP', 'the client ends TCP']);
});
