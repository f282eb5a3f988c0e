/** The trace, line by line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finishFanouts, sendToAll, wholeMessage } from '../../src/core/fanout.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { recordClosed } from '../../src/diagnostics/closedConnections.ts';
import { traceConnection, tracedConnections } from '../../src/diagnostics/trace.ts';
import { echo } from '../../src/handlers/echo.ts';
import { configureLog, watchLog } from '../../src/log/log.ts';
import { maxTraceMemory, maxTraceRate } from '../../src/protocol/traceLimits.ts';
import { newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import type { Connection } from '../../src/records/records.ts';
import { newFakeServer, openFakeConnection, sendText } from '../support/fakeSocket.ts';
import { closeFrame, frame, opcode } from '../support/rawFrame.ts';
import { newZlibPeer } from '../support/zlibPeer.ts';

configureLog('error', 'text');
const server = newFakeServer('--max-message', '64KB');

function receive(connection: Connection, ...frames: Buffer[]): void {
  const bytes = Buffer.concat(frames);
  readSocketData(connection, bytes, 0, bytes.length);
}

/** The lines of the log while `act` runs, without times. */
function logged(act: () => void): string[] {
  const lines: string[] = [];
  const stop = watchLog(line => lines.push(line.replace(/^\S+ /, '').trimEnd()) > 0);
  act();
  stop();
  return lines;
}

/** The lines of the trace while a new connection receives `frames`, without their beginnings. */
function traced(frames: readonly Buffer[], deflater = newDeflateContext(true, 15)): string[] {
  const { connection } = openFakeConnection(server, echo, deflater);
  traceConnection(server.trace, connection.id);
  const lines = logged(() => {
    receive(connection, ...frames);
    traceConnection(server.trace, 'off');
  });
  return lines.map(line => line.replace(/^\w+ +(?:frame|message|frame refused) id=\d+ /, ''));
}

const hex = (digits: string) => Buffer.from(digits, 'hex');
const [he, llo] = [frame(opcode.text, 'he', { fin: false }), frame(opcode.continuation, 'llo')];
const unmasked = (text: string) => frame(opcode.text, text, { key: null });

test('the trace has the lines of one connection, of all, or of none', () => {
  const [one, two] = [1, 2].map(() => openFakeConnection(server, echo).connection) as [
    Connection,
    Connection,
  ];
  const speak = () => {
    for (const connection of [one, two]) receive(connection, frame(opcode.text, 'hi'));
  };
  const lines = ({ id }: Connection) => [
    `info  frame id=${id} < text, 2 bytes: "hi" [final, masked]`,
    `info  frame id=${id} > text, 2 bytes: "hi" [final]`,
  ];
  assert.deepEqual(logged(speak), []);
  traceConnection(server.trace, two.id);
  assert.deepEqual(tracedConnections(server.trace), [two.id]);
  assert.deepEqual(logged(speak), lines(two));
  traceConnection(server.trace, 'all');
  assert.equal(tracedConnections(server.trace), 'all');
  assert.deepEqual(logged(speak), [...lines(one), ...lines(two)]);
  traceConnection(server.trace, 'off');
  assert.deepEqual(tracedConnections(server.trace), []);
  assert.deepEqual(logged(speak), []);
});

test('the trace of a connection ends with it', () => {
  const { connection } = openFakeConnection(server, echo);
  traceConnection(server.trace, connection.id);
  receive(connection, he);
  recordClosed(connection);
  assert.deepEqual(tracedConnections(server.trace), []);
  assert.deepEqual([server.trace.sessions.size, server.trace.held], [0, 0]);
});

test('a line names the fragments of a message, its control frames, and the meaning of a close code', () => {
  assert.deepEqual(
    traced([he, frame(opcode.ping, 'p'), llo, frame(opcode.binary, hex('00ff')), closeFrame(4001, 'bye')]),
    [
      '< text, 2 bytes, first fragment: "he" [masked]',
      '< ping, 1 byte: "p" [final, masked]',
      '> pong, 1 byte: "p" [final]',
      '< continuation, 3 bytes, last fragment: "llo" [final, masked]',
      '< message of 2 frames: text, 5 bytes: "hello"',
      '> text, 5 bytes: "hello" [final]',
      '< binary, 2 bytes: 00ff [final, masked]',
      '> binary, 2 bytes: 00ff [final]',
      '< close, 5 bytes: 4001 (a private code of the application) "bye" [final, masked]',
      '> close, 2 bytes: 4001 (a private code of the application) [final]',
    ],
  );
  assert.deepEqual(traced([frame(opcode.close)]), [
    '< close, 0 bytes, no code [final, masked]',
    '> close, 0 bytes, no code [final]',
  ]);
});

test('a line shows whole characters, even if a fragment ends inside one', () => {
  const bytes = Buffer.from('grüße');
  const lines = traced([
    frame(opcode.text, bytes.subarray(0, 3), { fin: false }),
    frame(opcode.continuation, bytes.subarray(3, 4), { fin: false }),
    frame(opcode.continuation, bytes.subarray(4)),
  ]);
  assert.deepEqual(lines.slice(0, 4), [
    '< text, 3 bytes, first fragment: "gr" [masked]',
    '< continuation, 1 byte, next fragment: "ü" [masked]',
    '< continuation, 3 bytes, last fragment: "ße" [final, masked]',
    '< message of 3 frames: text, 7 bytes: "grüße"',
  ]);
});

test('a compressed message is shown inflated, with context takeover, in fragments, and in both directions', async () => {
  const peer = newZlibPeer();
  const frames: Buffer[] = [];
  for (const text of ['hello', 'hello']) frames.push(await peer.compress(Buffer.from(text)));
  const long = 'croak '.repeat(500);
  const third = await peer.compress(Buffer.from(long));
  peer.close();
  const [first, second] = frames;
  assert.ok(second!.length < first!.length, 'the second message refers to the first');
  const lines = traced([
    frame(opcode.text, first!, { rsv: 4 }),
    frame(opcode.text, second!, { rsv: 4 }),
    frame(opcode.text, third.subarray(0, 4), { rsv: 4, fin: false }),
    frame(opcode.ping),
    frame(opcode.continuation, third.subarray(4)),
  ]);
  const beginning = '"croak croak croak croak croak croak croak croak " …';
  assert.deepEqual(lines.slice(0, 10), [
    `< text, 5 bytes (${first!.length} deflated): "hello" [final, compressed, masked]`,
    '> text, 5 bytes: "hello" [final]',
    `< text, 5 bytes (${second!.length} deflated): "hello" [final, compressed, masked]`,
    '> text, 5 bytes: "hello" [final]',
    '< text, 4 bytes deflated, first fragment [compressed, masked]',
    '< ping, 0 bytes [final, masked]',
    '> pong, 0 bytes [final]',
    `< continuation, ${third.length - 4} bytes deflated, last fragment [final, masked]`,
    `< message of 2 frames: text, 3000 bytes (${third.length} deflated): ${beginning}`,
    lines[9],
  ]);
  assert.match(lines[9]!, /^> text, 3000 bytes \(\d+ deflated\): "(croak ){8}" … \[final, compressed\]$/);
});

test('a broadcast is shown inflated for a client with compression', () => {
  const members = [newDeflateContext(true, 15), undefined].map(
    deflater => openFakeConnection(server, echo, deflater).connection,
  );
  for (const { id } of members) traceConnection(server.trace, id);
  const lines = logged(() => {
    sendToAll(members, undefined, wholeMessage(true, Buffer.from('x'.repeat(2000))));
    finishFanouts(server);
  });
  traceConnection(server.trace, 'off');
  const [one, two] = lines.map(line => line.replace(/^.* id=\d+ /, '').replace(/\d+ deflated/, 'N deflated'));
  const text = `"${'x'.repeat(48)}" …`;
  assert.deepEqual(
    [one, two],
    [`> text, 2000 bytes (N deflated): ${text} [final, compressed]`, `> text, 2000 bytes: ${text} [final]`],
  );
});

test('a trace that begins in the middle of a connection shows messages inflated', async () => {
  const peer = newZlibPeer();
  const [first, second] = [
    await peer.compress(Buffer.from('hello')),
    await peer.compress(Buffer.from('hello')),
  ];
  peer.close();
  const { connection } = openFakeConnection(server, echo, newDeflateContext(true, 15));
  receive(connection, frame(opcode.text, first, { rsv: 4 }), he);
  traceConnection(server.trace, connection.id);
  const lines = logged(() => receive(connection, llo, frame(opcode.text, second, { rsv: 4 })));
  traceConnection(server.trace, 'off');
  const id = `info  frame id=${connection.id}`;
  assert.deepEqual(lines, [
    `${id} < continuation, 3 bytes, last fragment: "llo" [final, masked]`,
    `${id} > text, 5 bytes: "hello" [final]`,
    `${id} < text, 5 bytes (${second.length} deflated): "hello" [final, compressed, masked]`,
    `${id} > text, 5 bytes: "hello" [final]`,
  ]);
});

const refusals: readonly [Buffer, string, string?][] = [
  [unmasked('hello'), 'a client must mask its frames (RFC 6455 §5.1); the bytes: 810568656c6c6f'],
  [hex('c08000000000'), 'RSV1 must be 0 on a continuation frame (RFC 7692 §6.1); the bytes: c08000000000'],
  [hex('c98000000000'), 'RSV1 must be 0 on a control frame (RFC 7692 §6.1); the bytes: c98000000000'],
  [hex('a180'), 'RSV2 and RSV3 must be 0 (RFC 6455 §5.2); the bytes: a180'],
  [hex('8380'), 'opcode 3 is reserved (RFC 6455 §5.2); the bytes: 8380'],
  [hex('0980'), 'a control frame must not be fragmented (RFC 6455 §5.5); the bytes: 0980'],
  [hex('89fe'), 'a control frame carries at most 125 bytes (RFC 6455 §5.5); the bytes: 89fe'],
  [
    hex('81fe0005'),
    'the payload length is not encoded in the fewest bytes (RFC 6455 §5.2); the bytes: 81fe0005',
  ],
  [
    hex('81ff8000000000000000'),
    'the most significant bit of a 64-bit payload length must be 0 (RFC 6455 §5.2); the bytes: 81ff8000000000000000',
  ],
  [
    llo,
    'a continuation frame without a message to continue (RFC 6455 §5.4)',
    '< continuation, 3 bytes, last fragment: "llo" [final, masked]',
  ],
  [
    Buffer.concat([he, frame(opcode.binary, 'x')]),
    'a new message before the last one was finished (RFC 6455 §5.4)',
    '< binary, 1 byte: 78 [final, masked]',
  ],
  [
    frame(opcode.text, hex('68ff')),
    'text that is not valid UTF-8 (RFC 6455 §8.1)',
    '< text, 2 bytes: 68ff [final, masked]',
  ],
  [
    frame(opcode.text, hex('c3')),
    'text that ends inside a character (RFC 6455 §8.1)',
    '< text, 1 byte: c3 [final, masked]',
  ],
  [
    frame(opcode.text, hex('ffffff'), { rsv: 4 }),
    'a compressed message that is not valid DEFLATE data (RFC 7692 §7.2.2)',
    '< text, 3 bytes deflated: ffffff [final, compressed, masked]',
  ],
  [
    frame(opcode.close, hex('03')),
    'a close frame with half a close code (RFC 6455 §5.5.1)',
    '< close, 1 byte: 03 [final, masked]',
  ],
  [
    frame(opcode.close, hex('03ed')),
    'close code 1005 must not be sent (RFC 6455 §7.4)',
    '< close, 2 bytes: 1005 (no status received: never on the wire) [final, masked]',
  ],
  [
    frame(opcode.binary, Buffer.alloc(65 * 1024)),
    'a message is at most 65536 bytes here (--max-message)',
    `< binary, 66560 bytes: ${'00'.repeat(48)} … [final, masked]`,
  ],
];

for (const [bytes, refusal, before] of refusals)
  test(`the trace shows a refused frame and the rule it breaks: ${refusal}`, () => {
    const lines = traced([bytes]);
    const at = lines.findIndex(line => line.startsWith('< refused'));
    assert.equal(lines[at], `< refused: ${refusal}`);
    if (before !== undefined) assert.equal(lines[at - 1], before);
    assert.match(lines[at + 1]!, /^> close, \d+ bytes: 10\d\d \([a-z ]+\) ".*" \[final\]$/);
  });

test('RSV1 without compression breaks a rule of RFC 6455', () => {
  const { connection } = openFakeConnection(server, echo);
  traceConnection(server.trace, connection.id);
  const [line] = logged(() => receive(connection, hex('c180')));
  traceConnection(server.trace, 'off');
  assert.match(line!, /< refused: RSV1 must be 0: no compression was negotiated \(RFC 6455 §5\.2\)/);
});

test('a payload that arrives after its header is shown when its message is complete', () => {
  const { connection } = openFakeConnection(server, echo);
  traceConnection(server.trace, connection.id);
  const bytes = frame(opcode.text, 'late '.repeat(20));
  const lines = logged(() => {
    receive(connection, bytes.subarray(0, 16));
    receive(connection, bytes.subarray(16));
  });
  traceConnection(server.trace, 'off');
  const beginning = '"late late late late late late late late late lat" …';
  assert.deepEqual(
    lines.map(line => line.replace(/^.* id=\d+ /, '')),
    [
      '< text, 100 bytes: "late late " … [final, masked]',
      `< message: text, 100 bytes: ${beginning}`,
      `> text, 100 bytes: ${beginning} [final]`,
    ],
  );
});

test('a line shows 48 characters of a text without cutting one, and a burst has a line for each frame', () => {
  const members = [1, 2].map(() => openFakeConnection(server, echo).connection);
  traceConnection(server.trace, members[1]!.id);
  const texts = ['one', 'two', 'x'.repeat(300), `${'x'.repeat(47)}🐸`];
  const lines = logged(() => {
    for (const text of texts) sendToAll(members, undefined, wholeMessage(true, Buffer.from(text)));
    finishFanouts(server);
  });
  traceConnection(server.trace, 'off');
  const id = `info  frame id=${members[1]!.id}`;
  assert.deepEqual(lines, [
    `${id} > text, 3 bytes: "one" [final]`,
    `${id} > text, 3 bytes: "two" [final]`,
    `${id} > text, 300 bytes: "${'x'.repeat(48)}" … [final]`,
    `${id} > text, 51 bytes: "${'x'.repeat(47)}" … [final]`,
  ]);
});

test('the trace escapes control characters from clients', () => {
  const lines = traced([
    frame(opcode.text, '\x1b[2J\u202e\n'),
    frame(opcode.ping, '\u2066\r'),
    closeFrame(3000, '\x9b\u2028'),
  ]);
  assert.deepEqual(lines.slice(0, 2), [
    '< text, 8 bytes: "\\u001b[2J\\u202e\\n" [final, masked]',
    '> text, 8 bytes: "\\u001b[2J\\u202e\\n" [final]',
  ]);
  assert.ok(!/[^ -~\u00a7…]/.test(lines.join('')), lines.join('\n'));
});

test('no line has a credential, even if a fragment begins inside it, or its frame is refused', () => {
  const sent = '{"password":"frogspawn", "token":"tadpoles"}';
  const cases = [
    [frame(opcode.text, sent)],
    ...[4, 16, 20, 30, 38].map(cut => [
      frame(opcode.text, sent.slice(0, cut), { fin: false }),
      frame(opcode.continuation, sent.slice(cut)),
    ]),
    [unmasked(sent)],
    [frame(opcode.text, sent, { rsv: 2 })],
    [frame(opcode.text, sent, { announcedLength: 4000, lengthBytes: 2 }), Buffer.alloc(4000)],
  ];
  const digits = (text: string) => Buffer.from(text).toString('hex');
  for (const frames of cases) {
    const shown = traced(frames)
      .filter(line => line.startsWith('<'))
      .join('\n');
    assert.ok(shown.length > 20);
    for (const part of ['frog', 'spawn', 'tad', 'poles'])
      assert.ok(!shown.includes(part) && !shown.includes(digits(part)), shown);
  }
});

test('the trace keeps a bounded part of each incomplete message, and at most the limit of all', () => {
  const crowded = newFakeServer();
  traceConnection(crowded.trace, 'all');
  const first = frame(opcode.text, 'x'.repeat(1000), { fin: false });
  const connections = Array.from({ length: 5000 }, () => openFakeConnection(crowded, echo).connection);
  for (const connection of connections) receive(connection, Buffer.from(first));
  const { held } = crowded.trace;
  assert.ok(held > maxTraceMemory / 2 && held < maxTraceMemory + 2048, `${held}`);
  const next = frame(opcode.continuation, 'y'.repeat(1000), { fin: false });
  for (const connection of connections) receive(connection, Buffer.from(next));
  assert.equal(crowded.trace.held, 0, 'the trace drops a text that is too long');
  traceConnection(crowded.trace, 'off');
  assert.equal(crowded.trace.held, 0);
});

test('the limit holds for messages that grow after their first byte', () => {
  const crowded = newFakeServer();
  traceConnection(crowded.trace, 'all');
  const connections = Array.from({ length: 6000 }, () => openFakeConnection(crowded, echo).connection);
  for (const connection of connections) receive(connection, frame(opcode.text, 'x', { fin: false }));
  for (const connection of connections)
    receive(connection, frame(opcode.continuation, 'y'.repeat(1000), { fin: false }));
  assert.ok(crowded.trace.held < maxTraceMemory + 2048, `${crowded.trace.held}`);
  traceConnection(crowded.trace, 'off');
});

test('lines above the rate are left out, and counted', t => {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: 1_700_000_000_000 });
  const { connection } = openFakeConnection(newFakeServer(), echo);
  const { trace } = connection.server;
  traceConnection(trace, connection.id);
  const lines = logged(() => {
    for (let i = 0; i < maxTraceRate + 100; i++) sendText(connection, 'x');
  });
  assert.equal(lines.length, maxTraceRate);
  const after = logged(() => {
    t.mock.timers.tick(1000);
    sendText(connection, 'y');
  });
  assert.deepEqual(after, [
    `warn  trace lines left out count=100 limit=${maxTraceRate}`,
    `info  frame id=${connection.id} > text, 1 byte: "y" [final]`,
  ]);
});
