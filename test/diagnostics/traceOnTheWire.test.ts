/** The trace of real connections: heads of HTTP, TLS, and the bytes that leave with faults. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listen } from '../../src/index.ts';
import type { ListenOptions, ServerEvent } from '../../src/testing/interface.ts';
import { makeCertificate } from '../support/certificates.ts';
import { type ConnectOptions, connectRaw, exchange } from '../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { startServerFor } from '../support/serverProcess.ts';

/** The events of the trace while a client sends `bytes`, until the connection ends. */
async function traceOf(
  options: ListenOptions,
  connect: ConnectOptions,
  bytes: Buffer,
): Promise<ServerEvent[]> {
  const server = await listen({ trace: true, ...options });
  try {
    const client = await connectRaw(server.port, connect);
    client.send(bytes);
    await client.end();
    await server.waitFor(({ event }) => event === 'closed');
  } finally {
    await server.close();
  }
  const events: ServerEvent[] = [];
  for await (const event of server.events) events.push(event);
  return events.filter(({ event }) => /^(head|frame|frame refused|fault|wrote)$/.test(event));
}

test('the head of a request and its answer are traced, without credentials', async () => {
  const headers = { Authorization: 'Bearer hush-hush', Cookie: 'sid=hush', 'X-Note': 'a\u202eb' };
  const events = await traceOf({}, { path: '/echo?token=hush&room=pond', headers }, closeFrame(1000));
  const heads = events.filter(({ event }) => event === 'head');
  assert.deepEqual(
    heads.map(({ way, line }) => `${way} ${line}`.replace(/(-key|-accept): \S+=$/, '$1: …')),
    [
      '< GET /echo?token=***&room=pond HTTP/1.1',
      '< host: 127.0.0.1',
      '< upgrade: websocket',
      '< connection: Upgrade',
      '< sec-websocket-key: …',
      '< sec-websocket-version: 13',
      '< authorization: ***',
      '< cookie: ***',
      `< x-note: ${Buffer.from('a\u202eb').toString('latin1')}`,
      '> HTTP/1.1 101 Switching Protocols',
      '> upgrade: websocket',
      '> connection: Upgrade',
      '> sec-websocket-accept: …',
    ],
  );
  assert.ok(!JSON.stringify(events).includes('hush'));
});

test('the id of a polling session is not in the trace', async () => {
  const server = await listen({ trace: true });
  const response = await fetch(`http://127.0.0.1:${server.port}/poll/echo`, { method: 'POST' });
  const { session } = (await response.json()) as { session: string };
  await server.close();
  const events: ServerEvent[] = [];
  for await (const event of server.events) events.push(event);
  const shown = JSON.stringify(events);
  assert.ok(shown.includes('{\\"session\\":\\"***'), shown);
  assert.ok(!shown.includes(session.slice(0, 6)), shown);
});

test('a long head is traced in part', async t => {
  const { port, untilLogged, logged } = await startServerFor(t, '--trace', '--max-header', '64KB');
  const fields = Array.from({ length: 90 }, (_, i) => `X-${i}: ${i === 1 ? 'v'.repeat(5000) : i}\r\n`);
  await exchange(port, `GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${fields.join('')}\r\n`);
  await untilLogged(({ event, way }) => event === 'frame' && way === '>');
  const lines = logged().filter(({ event, way }) => event === 'head' && way === '<');
  assert.deepEqual(
    [lines.length, lines.at(-1)?.['line'], String(lines[4]?.['line']).length],
    [66, '… 28 more', 400],
  );
});

test('over TLS the trace shows decrypted heads and frames', async () => {
  const { cert, key } = makeCertificate('localhost', { names: ['localhost'] });
  const events = await traceOf(
    { tlsCert: [cert], tlsKey: [key] },
    { path: '/echo', tls: {} },
    frame(opcode.text, 'hello'),
  );
  const shown = events.map(({ way, line, text }) => `${way} ${line ?? text}`);
  assert.ok(shown.includes('< GET /echo HTTP/1.1'), shown.join('\n'));
  assert.ok(shown.includes('< hello') && shown.includes('> hello'), shown.join('\n'));
});

test('the fields of frames are in the JSON of the log', async t => {
  const { port, untilLogged, logged } = await startServerFor(t, '--trace');
  const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
  const client = await connectRaw(port, { path: '/echo?token=secret', headers });
  const hello = frame(opcode.text, Buffer.from('f248cdc9c90700', 'hex'), { rsv: 4 });
  client.send(frame(opcode.binary, Buffer.from([1, 2, 255])), hello, frame(opcode.ping, '', { key: null }));
  await client.end();
  await untilLogged(({ way, opcode: name }) => way === '>' && name === 'close');
  const frames = logged().filter(({ event }) => event === 'frame' || event === 'frame refused');
  const [{ id } = {}] = frames;
  const usual = { id, fin: true, compressed: false };
  const reason = 'a client must mask its frames';
  assert.deepEqual(
    frames.map(({ time: _, level: __, event: ___, ...rest }) => rest),
    [
      { ...usual, way: '<', opcode: 'binary', length: 3, masked: true, hex: '0102ff' },
      { ...usual, way: '>', opcode: 'binary', length: 3, masked: false, hex: '0102ff' },
      {
        ...usual,
        way: '<',
        opcode: 'text',
        length: 7,
        inflated: 5,
        compressed: true,
        masked: true,
        text: 'Hello',
      },
      { ...usual, way: '>', opcode: 'text', length: 5, masked: false, text: 'Hello' },
      { id, code: 1002, way: '<', reason, rule: 'RFC 6455 §5.1', hex: '8900' },
      { ...usual, way: '>', opcode: 'close', length: 31, masked: false, code: 1002, text: reason },
    ],
  );
  assert.doesNotMatch(JSON.stringify(logged()), /secret/, 'a query may contain a credential');
});

test('the trace names each fault and shows the bytes on the wire', async () => {
  const written = async (fault: string, text = 'hello') => {
    const hello = Buffer.concat([frame(opcode.text, text), closeFrame(1000)]);
    const events = await traceOf({ faults: true }, { path: `/faulty?${fault}` }, hello);
    return events
      .filter(({ event, way }) => event === 'fault' || event === 'wrote' || way === '!')
      .map(({ fault, line, text, hex, meaning }) => [fault ?? line ?? text ?? hex, meaning].join(' = '));
  };
  const answer = /^HTTP\/1\.1 101 Switching Protocols\r\nUpgrade: webso = the answer, unchanged$/;
  const [head, rsv2, both] = await written('rsv2');
  assert.match(head!, answer);
  assert.deepEqual(
    [rsv2, both],
    [
      'rsv2 = ',
      '810568656c6c6fa10472737632880203e8 = text, 5 bytes: "hello" [final]; text, 4 bytes: "rsv2" [final, RSV2]; close, 2 bytes: 1000 (normal closure) [final]',
    ],
  );
  assert.deepEqual((await written('drip=1ms&after=1')).slice(1), [
    'drip=1ms after=1 = ',
    '810568656c6c6f = text, 5 bytes: "hello" [final]',
    '88 = the first byte of a frame',
    '02 = close, 2 bytes: … [final]',
    '03 = 1 byte of the payload',
    'e8 = 1 byte of the payload',
  ]);
  const [, , answered] = await written('rsv2', 'the answer');
  assert.match(
    answered!,
    /^810a746865[0-9a-f]+ = text, 10 bytes: "the answer" \[final\]; /,
    'a frame has its bytes',
  );
  const changed = await written('wrong-accept');
  assert.deepEqual(changed.slice(0, 2), ['wrong-accept = ', 'HTTP/1.1 101 Switching Protocols = ']);
  assert.match(changed[4]!, /^sec-websocket-accept: [\w+/]{27}= = $/);
  const dripped = await written('drip-handshake=1ms');
  assert.deepEqual(dripped.slice(0, 3), [
    'drip-handshake=1ms = ',
    'H = a part of the answer',
    'T = a part of the answer',
  ]);
  assert.match(dripped.at(-1)!, /^8105[0-9a-f]+ = text, 5 bytes: "hello" \[final\]; close, /);
});
