/** The decoder: the bytes of a connection, in any pieces, become the same events. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import { type DecodedEvent, decode, decoderMemory, newSessionDecoder } from '../../src/recordings/decoder.ts';
import { showEvent } from '../../src/recordings/recording.ts';
import { newRandom } from '../support/random.ts';
import { frame, opcode } from '../support/rawFrame.ts';

const request = (...fields: string[]) =>
  Buffer.from(
    [
      'GET /echo?x=1 HTTP/1.1',
      'Host: localhost',
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Version: 13',
      ...fields,
      '\r\n',
    ].join('\r\n'),
  );
const response = (...fields: string[]) =>
  Buffer.from(
    ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', ...fields, '\r\n'].join(
      '\r\n',
    ),
  );

type Sent = readonly [from: 'client' | 'server', bytes: Buffer];

/** @param pieceSize how many bytes are given at once */
function events(sent: readonly Sent[], pieceSize = Number.POSITIVE_INFINITY): DecodedEvent[] {
  const found: DecodedEvent[] = [];
  const decoder = newSessionDecoder(event => found.push(event));
  for (const [from, bytes] of sent) {
    for (let at = 0; at < bytes.length; at += pieceSize)
      decode(decoder, from, bytes, at, Math.min(bytes.length, at + pieceSize), 0);
  }
  return found;
}

const lines = (found: readonly DecodedEvent[]) =>
  found.map(event => {
    const { at, raw, headers, ...rest } = JSON.parse(showEvent(event));
    return rest;
  });

const unmasked = (text: string) => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]);

const session: Sent[] = [
  ['client', request()],
  ['server', response()],
  ['client', Buffer.concat([frame(opcode.text, 'hello'), frame(opcode.ping, 'p')])],
  ['server', unmasked('hello')],
  ['client', frame(opcode.text, 'in ', { fin: false })],
  ['client', frame(opcode.continuation, 'parts')],
  ['client', frame(opcode.binary, 'x'.repeat(70_000))],
  ['client', frame(opcode.close, Buffer.from([3, 0xe8, 0x62]))],
];

const decoded = [
  { from: 'client', request: '/echo?x=1' },
  { from: 'server', status: 101 },
  { from: 'client', opcode: 'text', text: 'hello' },
  { from: 'client', opcode: 'ping', text: 'p' },
  { from: 'server', opcode: 'text', text: 'hello' },
  { from: 'client', opcode: 'text', fin: false },
  { from: 'client', opcode: 'continuation', text: 'in parts' },
  { from: 'client', opcode: 'binary', hex: '78'.repeat(70_000) },
  { from: 'client', opcode: 'close', code: 1000, text: 'b' },
];

test('a session becomes its handshake, its frames, and the content of its messages', () => {
  assert.deepEqual(lines(events(session)), decoded);
});

test('the events do not depend on how the bytes are divided', () => {
  for (const size of [1, 2, 7, 1000]) assert.deepEqual(lines(events(session, size)), decoded);
});

test('each event of a frame has the bytes of the frame', () => {
  const raw = events(session).flatMap(event => (event.kind === 'frame' ? [event.raw!] : []));
  const sent = session.slice(2).map(([, bytes]) => bytes);
  assert.deepEqual(Buffer.concat(raw), Buffer.concat(sent));
});

test('requests and a PROXY header before the handshake are skipped, and frames before its answer are decoded', () => {
  const found = events([
    ['client', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n')],
    ['client', Buffer.from('POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nGET / HTTP')],
    ['server', Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')],
    ['client', Buffer.concat([request(), frame(opcode.text, 'early')])],
    ['server', response()],
  ]);
  assert.deepEqual(lines(found), [...decoded.slice(0, 2), { from: 'client', opcode: 'text', text: 'early' }]);
});

test('other protocols and refused handshakes have no events', () => {
  assert.deepEqual(events([['client', Buffer.from('hello\r\n')]]), []);
  const refused = Buffer.from('HTTP/1.1 404 Not Found\r\n\r\n');
  assert.deepEqual(
    events([
      ['client', request()],
      ['server', refused],
    ]),
    [],
  );
});

test('after an invalid frame, everything is recorded as bytes', () => {
  const bad = Buffer.from([0xf1, 0x80, 1, 2, 3, 4]);
  const late = frame(opcode.text, 'late');
  const found = events([...session.slice(0, 3), ['client', bad], ['client', late]]);
  const bytes = found.flatMap(event => (event.kind === 'bytes' ? [event.bytes] : []));
  assert.deepEqual(Buffer.concat(bytes), Buffer.concat([bad, late]));
});

test('a frame that announces more than can be recorded is recorded as bytes', () => {
  const terabyte = Buffer.from([0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 9, 9]);
  const found = events([...session.slice(0, 2), ['client', terabyte]]);
  assert.deepEqual(lines(found.slice(2)), [{ from: 'client', bytes: terabyte.toString('hex') }]);
});

test('compressed messages are inflated with the context of earlier ones', () => {
  const text = 'croak croak croak '.repeat(20);
  const compress = (dictionary?: Buffer) =>
    deflateRawSync(text, {
      finishFlush: constants.Z_SYNC_FLUSH,
      ...(dictionary === undefined ? {} : { dictionary }),
    }).subarray(0, -4);
  const sent = (payload: Buffer) => frame(opcode.text, payload, { rsv: 4 });
  const found = events([
    ['client', request('Sec-WebSocket-Extensions: permessage-deflate')],
    ['server', response('Sec-WebSocket-Extensions: permessage-deflate')],
    ['client', sent(compress())],
    ['client', sent(compress(Buffer.from(text)))],
    ['client', sent(Buffer.from('garbage'))],
  ]);
  const compressed = { from: 'client', opcode: 'text', compressed: true };
  assert.deepEqual(lines(found.slice(2)), [{ ...compressed, text }, { ...compressed, text }, compressed]);
});

test('messages that may refer to one that was not inflated have no content', () => {
  const compress = (text: string, dictionary = '') =>
    deflateRawSync(text, {
      finishFlush: constants.Z_SYNC_FLUSH,
      ...(dictionary === '' ? {} : { dictionary: Buffer.from(dictionary) }),
    }).subarray(0, -4);
  const sent = (payload: Buffer) => frame(opcode.text, payload, { rsv: 4 });
  const [first, huge, last] = ['croak '.repeat(9), 'y'.repeat(17 * 1024 * 1024), 'quack '.repeat(9)];
  const contents = (...extensions: string[]) => {
    const field = `Sec-WebSocket-Extensions: ${['permessage-deflate', ...extensions].join('; ')}`;
    const found = events([
      ['client', request(field)],
      ['server', response(field)],
      ['client', sent(compress(first))],
      ['client', sent(compress(huge))],
      // With context takeover, it refers to the end of the huge message.
      ['client', sent(compress(last, extensions.length === 0 ? `quack ${'y'.repeat(10)}` : ''))],
    ]);
    return found.slice(2).map(event => event.kind === 'frame' && event.content?.bytes.toString());
  };
  assert.deepEqual(contents(), [first, undefined, undefined]);
  assert.deepEqual(contents('client_no_context_takeover'), [first, undefined, last]);
});

test('a compressed message of two DEFLATE streams is inflated whole', () => {
  const end = { finishFlush: constants.Z_SYNC_FLUSH };
  const payload = Buffer.concat([deflateRawSync('croak '), deflateRawSync('quack', end).subarray(0, -4)]);
  const found = events([
    ['client', request('Sec-WebSocket-Extensions: permessage-deflate')],
    ['server', response('Sec-WebSocket-Extensions: permessage-deflate')],
    ['client', frame(opcode.text, payload, { rsv: 4 })],
  ]);
  const compressed = { from: 'client', opcode: 'text', compressed: true };
  assert.deepEqual(lines(found.slice(2)), [{ ...compressed, text: 'croak quack' }]);
});

/** The memory of a decoder that has read these bytes of a client, and the bytes that it holds in one buffer at most. */
function memoryAfter(...sent: readonly Buffer[]): number {
  const decoder = newSessionDecoder(() => {});
  const all: Sent[] = [
    ['client', request('Sec-WebSocket-Extensions: permessage-deflate')],
    ['server', response('Sec-WebSocket-Extensions: permessage-deflate')],
    ...sent.map((bytes): Sent => ['client', bytes]),
  ];
  for (const [from, bytes] of all) decode(decoder, from, bytes, 0, bytes.length, 0);
  const { inflater } = decoder.client;
  if (typeof inflater === 'object') assert.ok(inflater.window.buffer.byteLength <= 65_536);
  return decoderMemory(decoder);
}

test('the memory of the decoder includes small pieces and the window, but no message above the limit', () => {
  assert.equal(memoryAfter(), 0);
  const first = frame(opcode.binary, 'x', { fin: false });
  const part = frame(opcode.continuation, 'x', { fin: false });
  assert.ok(memoryAfter(first, ...Array<Buffer>(999).fill(part)) > 100_000);
  const byte = Buffer.from('x');
  const begun = frame(opcode.binary, 'x'.repeat(2000)).subarray(0, 10);
  assert.ok(memoryAfter(begun, ...Array<Buffer>(1000).fill(byte)) > 100_000);
  const long = deflateRawSync('croak '.repeat(1_000_000), { finishFlush: constants.Z_SYNC_FLUSH });
  assert.equal(memoryAfter(frame(opcode.text, long.subarray(0, -4), { rsv: 4 })), 32_768);
  const megabyte = frame(opcode.continuation, Buffer.alloc(1024 * 1024), { fin: false });
  assert.equal(memoryAfter(first, ...Array<Buffer>(17).fill(megabyte)), 0);
  const empty = frame(opcode.continuation, '', { fin: false });
  assert.ok(memoryAfter(first, ...Array<Buffer>(10_000).fill(empty)) < 200);
});

test('random bytes cause no error, and each byte is decoded once, in order', () => {
  const random = newRandom(13);
  let incomplete = 0;
  for (let run = 0; run < 300; run++) {
    const sent = session.map(([from, bytes], index): Sent => {
      const changed = Buffer.from(bytes.subarray(0, 3000));
      if (index > 1) for (let i = 0; i < 3; i++) changed[random.below(changed.length)] = random.below(256);
      return [from, changed];
    });
    const found = events(sent, 1 + random.below(100));
    for (const side of ['client', 'server'] as const) {
      const raw = found.flatMap(event =>
        event.from !== side || !('raw' in event || 'bytes' in event)
          ? []
          : [event.kind === 'frame' ? event.raw! : event.bytes],
      );
      const given = Buffer.concat(sent.slice(2).flatMap(([from, bytes]) => (from === side ? [bytes] : [])));
      const decodedBytes = Buffer.concat(raw);
      // Only the end of the input may be an incomplete frame.
      assert.deepEqual(decodedBytes, given.subarray(0, decodedBytes.length));
      if (decodedBytes.length < given.length) incomplete++;
    }
  }
  assert.ok(incomplete < 600, 'some inputs are decoded whole');
});
