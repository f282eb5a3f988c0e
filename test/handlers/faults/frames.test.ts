/** Frame faults, byte for byte. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import { frameFaults } from '../../../src/handlers/faults/frames.ts';
import { closeFrame, type FrameOptions, frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';
import { connectForFaults, type FaultClient } from './faultClient.ts';

/** A frame of a server; `options` can make it invalid. */
const sent = (code: number, payload: string | Uint8Array, options: FrameOptions = {}) =>
  frame(code, payload, { key: null, ...options });
const text = (payload: string | Uint8Array, options: FrameOptions = {}) =>
  sent(opcode.text, payload, options);
const echo = text('one');

const euro = Buffer.from('€');
const withOddByte = (start: string) => Buffer.concat([Buffer.from(start), Buffer.from([0xff])]);
const compression = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };

/** The bytes after the echo of the first message. The faults in `apart` have their own tests. */
const onTheWire: Readonly<Record<string, Buffer>> = {
  rsv1: text('rsv1', { rsv: 4 }),
  rsv2: text('rsv2', { rsv: 2 }),
  rsv3: text('rsv3', { rsv: 1 }),
  'reserved-opcode': sent(3, 'reserved-opcode'),
  'reserved-opcode=15': sent(15, 'reserved-opcode'),
  'long-length-16': text('long-length-16', { lengthBytes: 2 }),
  'long-length-64': text('long-length-64', { lengthBytes: 8 }),
  'top-bit-length': Buffer.concat([
    Buffer.from([0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 14]),
    Buffer.from('top-bit-length'),
  ]),
  terabyte: sent(opcode.binary, 'terabyte', { announcedLength: 2 ** 40 }),
  'half-header': Buffer.from([0x81, 126, 1]),
  'half-frame': text('half-frame', { announcedLength: 20 }),
  'fragmented-ping': sent(opcode.ping, 'fragmented-ping', { fin: false }),
  'long-ping': sent(opcode.ping, 'long-ping'.padEnd(126, '.')),
  'lone-continuation': sent(opcode.continuation, 'lone-continuation'),
  'nested-message': Buffer.concat([text('nested-', { fin: false }), text('nested-message')]),
  'invalid-utf8': text(withOddByte('invalid-utf8')),
  'split-utf8': Buffer.concat([
    text(Buffer.concat([Buffer.from('split-utf8 '), euro.subarray(0, 1)]), { fin: false }),
    sent(opcode.continuation, euro.subarray(1)),
  ]),
  'late-invalid-utf8': Buffer.concat([
    text('late-invalid-utf8'.padEnd(500, '.'), { fin: false }),
    sent(opcode.continuation, withOddByte('.'.repeat(500))),
  ]),
  'bad-deflate': text(Buffer.from([0x06, 0xff, 0xff, 0xff]), { rsv: 4 }),
  'rsv1-continuation': Buffer.concat([
    text('rsv1-', { fin: false }),
    sent(opcode.continuation, 'continuation', { rsv: 4 }),
  ]),
};
const apart = ['masked', 'bomb', 'endless-fragments'];

let server: ServerProcess;
before(async () => {
  server = await startServer('--faults');
});
after(() => server.kill());

async function connectTo(path: string, headers: Readonly<Record<string, string>> = {}): Promise<FaultClient> {
  const client = await connectForFaults(server.port, path, { headers });
  client.say('one');
  return client;
}

describe('a frame fault', () => {
  test('always has a test here', () => {
    const tested = new Set([...Object.keys(onTheWire).map(words => words.split('=', 1)[0]!), ...apart]);
    assert.deepEqual(frameFaults.map(({ name }) => name).sort(), [...tested].sort());
  });

  for (const [words, bytes] of Object.entries(onTheWire)) {
    test(`${words} sends exactly these bytes after the echo of the first message`, async () => {
      const client = await connectTo(`/faulty?${words}`);
      const due = Buffer.concat([echo, bytes]);
      assert.deepEqual(await client.untilSize(due.length), due);
      client.destroy();
    });
  }

  test('masked sends a frame with a masking key', async () => {
    const client = await connectTo('/faulty?masked');
    const body = await client.untilSize(echo.length + 12);
    const [head, key, payload] = [body.subarray(5, 7), body.subarray(7, 11), body.subarray(11)];
    assert.deepEqual([...head], [0x81, 0x86]);
    assert.equal(payload.map((byte, at) => byte ^ key[at % 4]!).toString(), 'masked');
    client.destroy();
  });

  test('rsv1 sends a ping on a connection with compression, because compression allows RSV1 on messages', async () => {
    const client = await connectTo('/faulty?rsv1', compression);
    const body = await client.until(bytes => bytes.includes('rsv1'));
    assert.deepEqual(body.subarray(-6), sent(opcode.ping, 'rsv1', { rsv: 4 }));
    client.destroy();
  });

  test('bomb inflates to its size from a thousandth of it on the wire', async () => {
    for (const [size, bytes] of [
      ['1B', 1],
      ['3MB', 3 * 1024 ** 2],
      ['2500KB', 2500 * 1024],
    ] as const) {
      const client = await connectTo(`/faulty?after=0&bomb=${size}`, compression);
      // The echo and another bomb follow the bomb.
      const body = await client.until(({ length }) => length > 4 && length >= bytes / 1025);
      assert.equal(body[0], 0xc2);
      const start = body[1]! < 126 ? 2 : 4;
      const length = start === 2 ? body[1]! : body.readUInt16BE(2);
      assert.ok(length < 8 + bytes / 1000, `${length} bytes`);
      await client.untilSize(start + length);
      const deflated = client.body().subarray(start, start + length);
      const inflated = inflateRawSync(Buffer.concat([deflated, Buffer.from('0000ffff', 'hex')]), {
        finishFlush: 2,
      });
      assert.deepEqual(inflated, Buffer.alloc(bytes));
      client.destroy();
    }
  });

  test('after half-header and half-frame the server sends nothing, and ends TCP as usual', async () => {
    for (const name of ['half-header', 'half-frame']) {
      const client = await connectTo(`/faulty?${name}`);
      const due = Buffer.concat([echo, onTheWire[name]!]);
      await client.untilSize(due.length);
      client.say('two');
      client.socket.write(Buffer.concat([frame(opcode.ping, 'ping'), closeFrame(1000)]));
      assert.equal(await client.ended, 'FIN', name);
      assert.deepEqual(client.body(), due, name);
      client.destroy();
    }
  });

  test('endless-fragments sends fragments until the closing handshake, and answers pings between them', async () => {
    const client = await connectTo('/faulty?endless-fragments=1000B');
    const fragment = (code: number) => sent(code, '.'.repeat(1000), { fin: false });
    const due = Buffer.concat([
      echo,
      fragment(opcode.text),
      fragment(opcode.continuation),
      fragment(opcode.continuation),
    ]);
    assert.deepEqual((await client.untilSize(due.length)).subarray(0, due.length), due);
    client.say('this echo would be nested in the message');
    client.socket.write(frame(opcode.ping, 'ping'));
    const pong = sent(opcode.pong, 'ping');
    await client.until(body => body.includes(pong));
    client.socket.write(closeFrame(1000));
    assert.equal(await client.ended, 'FIN');
    assert.deepEqual(client.body().subarray(-4), sent(opcode.close, Buffer.from([3, 232])));
    assert.ok(!client.body().includes('nested'));
    client.destroy();
  });
});
