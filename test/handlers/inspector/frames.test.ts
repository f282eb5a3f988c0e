/** The frames of a watched connection, as the page gets them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import { WebSocket } from 'ws';
import type { ConnectionState, InspectedFrame } from '../../../src/handlers/inspector/messages.ts';
import {
  contentPerFrame,
  maxInspectedFrames,
  maxShownContent,
} from '../../../src/protocol/inspectorLimits.ts';
import { parseRecording } from '../../../src/recordings/recording.ts';
import { type InspectorClient, openInspector } from '../../support/inspectorClient.ts';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { frame } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer } from '../../support/serverProcess.ts';

describe('a watched connection', () => {
  let server: ServerProcess;
  let page: InspectorClient;
  before(async () => {
    server = await startServer('--inspect', '--faults');
  });
  after(() => server.kill());
  beforeEach(async () => {
    page = await openInspector(server.port);
    await page.next('welcome');
  });
  afterEach(async () => {
    page.close();
    await page.closed;
  });

  /** Waits until the page lists the connection of this client, and watches it. @returns its serial number */
  async function watchClient(client: WebSocket | RawClient): Promise<number> {
    const socket = 'socket' in client ? client.socket : (client as unknown as { _socket: Socket })._socket;
    for (;;) {
      const { added } = await page.next('connections');
      const found = added.find(one => one.address === `127.0.0.1:${socket.localPort}`);
      if (found === undefined) continue;
      page.send({ type: 'watch', serial: found.serial });
      await page.next('state');
      return found.serial;
    }
  }

  /** Waits for so many frames. */
  async function nextFrames(
    count: number,
    kind: InspectedFrame['kind'] = 'frame',
  ): Promise<InspectedFrame[]> {
    const frames: InspectedFrame[] = [];
    while (frames.length < count) {
      const message = await page.next('frames');
      frames.push(...message.frames.filter(one => one.kind === kind));
    }
    return frames;
  }

  async function open(path: string, options: object = {}): Promise<WebSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}${path}`, {
      perMessageDeflate: false,
      ...options,
    });
    socket.on('error', () => {});
    await once(socket, 'open');
    return socket;
  }

  test('shows each frame in both directions, with its header and its text', async () => {
    const socket = await open('/echo');
    const serial = await watchClient(socket);
    socket.send('hello, pond');
    socket.send(Buffer.from([1, 2, 255]));
    socket.ping('are you there');
    const frames = await nextFrames(6);
    const shown = (direction: string) =>
      frames
        .filter(one => one.direction === direction)
        .map(({ first, isMasked, length, wireLength, text, hex }) => [
          first,
          isMasked,
          length,
          wireLength,
          text ?? hex,
        ])
        .sort();
    assert.deepEqual(shown('in'), [
      [0x81, true, 11, 17, 'hello, pond'],
      [0x82, true, 3, 9, '0102ff'],
      [0x89, true, 13, 19, 'are you there'],
    ]);
    assert.deepEqual(shown('out'), [
      [0x81, false, 11, 13, 'hello, pond'],
      [0x82, false, 3, 5, '0102ff'],
      [0x8a, false, 13, 15, 'are you there'],
    ]);
    assert.equal(new Set(frames.map(one => one.frame)).size, 6);
    socket.close(1001, 'off to the lake');
    const [close] = await nextFrames(1);
    assert.deepEqual([close?.code, close?.text], [1001, 'off to the lake']);
    const states: (ConnectionState | null)[] = [];
    while (states.at(-1) !== 'ENDED') states.push((await page.next('state')).state);
    assert.deepEqual(states, ['CLOSED', 'ENDED']);
    const { ended } = await page.next('connections', message =>
      message.ended.some(one => one.serial === serial),
    );
    assert.equal(ended.find(one => one.serial === serial)?.code, 1001);
  });

  test('shows the inflated content of compressed messages, with context takeover, from the middle of a session', async () => {
    const compressed = await startServer('--inspect', '--compress', 'takeover');
    const other = page;
    try {
      page = await openInspector(compressed.port);
      const socket = new WebSocket(`ws://127.0.0.1:${compressed.port}/echo`, {
        perMessageDeflate: { threshold: 0 },
      });
      await once(socket, 'open');
      const text = (number: number) => `message ${number} of the pond: ${'ribbit '.repeat(200)}`;
      socket.send(text(1));
      await once(socket, 'message');
      await watchClient(socket);
      socket.send(text(2));
      const frames = await nextFrames(2);
      for (const one of frames) {
        assert.equal(one.text, text(2), one.direction);
        assert.ok((one.first! & 0x40) !== 0 && one.length < 100, `${one.length} bytes`);
        assert.equal(one.contentLength, text(2).length);
        page.send({ type: 'explain', frame: one.frame });
        const { explanation, rules } = await page.next('explanation');
        assert.ok(explanation.kind === 'frame');
        assert.match(String(explanation.content), /^text message, \d+ bytes of DEFLATE data, 1423 inflated/);
        assert.equal(explanation.breach, undefined);
        assert.ok(rules['7692-6-1']?.places[0]?.line !== undefined);
      }
      socket.terminate();
    } finally {
      page.close();
      page = other;
      await compressed.kill();
    }
  });

  test('shows fragments as they arrive, and explains each', async () => {
    const client = await connectRaw(server.port, { path: '/echo' });
    await watchClient(client);
    const [start, end] = [Buffer.from('frög').subarray(0, 3), Buffer.from('frög').subarray(3)];
    client.send(frame(1, start, { fin: false }));
    const [first] = await nextFrames(1);
    assert.deepEqual([first?.first, first?.text], [0x01, undefined]);
    page.send({ type: 'explain', frame: first!.frame });
    assert.match((await page.next('failed')).why, /its message is incomplete/);
    client.send(frame(9, 'in between'));
    client.send(frame(0, end));
    const frames = await nextFrames(4);
    const last = frames.find(one => one.first === 0x80);
    assert.equal(last?.text, 'frög');
    assert.equal(frames.find(one => one.first === 0x89)?.text, 'in between');
    for (const number of [first!.frame, last!.frame]) {
      page.send({ type: 'explain', frame: number });
      const { explanation } = await page.next('explanation');
      assert.ok(explanation.kind === 'frame' && explanation.breach === undefined);
    }
    client.destroy();
  });

  test('shows invalid bytes, and explains the broken rule with its line in the source', async () => {
    const client = await connectRaw(server.port, { path: '/echo' });
    await watchClient(client);
    client.send(Buffer.from('810548656c6c6f', 'hex'));
    const [bytes] = await nextFrames(1, 'bytes');
    assert.equal(bytes?.hex, '810548656c6c6f');
    page.send({ type: 'explain', frame: bytes!.frame });
    const { explanation, rules } = await page.next('explanation');
    assert.ok(explanation.kind === 'frame');
    assert.equal(explanation.breach?.rule, 'a client must mask its frames');
    const [rule] = explanation.breach!.rules!.map(id => rules[id]!);
    assert.equal(rule?.section, 'RFC 6455 §5.1');
    const place = rules['5.1-2']!.places[0]!;
    assert.match(place.file, /^src\/protocol\//);
    assert.match(place.excerpt!.split('\n')[place.line! - place.excerptLine!]!, /5\.1-2/);
    client.destroy();
  });

  test('shows the bytes that a fault sent', async () => {
    const socket = await open('/faulty?masked');
    await watchClient(socket);
    socket.send('hello');
    socket.send('again');
    const altered: InspectedFrame[] = [];
    while (!altered.some(one => one.kind === 'bytes')) altered.push(...(await page.next('frames')).frames);
    const bytes = altered.find(one => one.kind === 'bytes');
    assert.equal(bytes?.direction, 'out');
    // The mask bit of the length is set, which no server may do.
    assert.match(bytes!.hex!, /^818[\da-f]/);
    assert.ok(altered.some(one => one.kind === 'fault' && one.text?.includes('masked')));
    socket.terminate();
  });

  test('hides credentials, as recordings do', async () => {
    const socket = await open('/echo');
    await watchClient(socket);
    socket.send('{"token":"hunter2-hunter2","data":1}');
    const frames = await nextFrames(2);
    for (const one of frames) {
      assert.doesNotMatch(JSON.stringify(one), /hunter2|68756e746572/);
      assert.equal(one.isRedacted, true);
    }
    page.send({ type: 'explain', frame: frames[0]!.frame });
    assert.match((await page.next('failed')).why, /contained a credential/);
    socket.terminate();
  });

  test('cuts long content, and shows the header of a very long frame', async () => {
    const socket = await open('/echo');
    await watchClient(socket);
    socket.send('x'.repeat(10_000));
    for (const one of await nextFrames(2)) {
      assert.deepEqual([one.length, one.text?.length, one.isCut], [10_000, maxShownContent, true]);
    }
    socket.send(Buffer.alloc(1_000_000));
    for (const one of await nextFrames(2)) {
      assert.deepEqual([one.length, one.isUninflated, one.hex], [1_000_000, true, undefined]);
    }
    socket.send('short');
    assert.deepEqual(
      (await nextFrames(2)).map(one => one.text),
      ['short', 'short'],
    );
    socket.terminate();
  });

  test('shows a sample of 10,000 messages, and counts the others', async () => {
    const socket = await open('/echo');
    await watchClient(socket);
    const messages = 10_000;
    let echoes = 0;
    const finished = new Promise<void>(resolve => {
      socket.on('message', () => {
        if (++echoes === messages) resolve();
      });
    });
    for (let i = 0; i < messages; i++) socket.send(`message ${i}`);
    await finished;
    let shown = 0;
    let skipped = 0;
    while (shown + skipped < 2 * messages) {
      const message = await page.next('frames');
      shown += message.frames.length;
      skipped += message.skipped;
    }
    assert.equal(shown + skipped, 2 * messages);
    assert.ok(shown >= maxInspectedFrames && skipped > messages, `${shown} shown, ${skipped} skipped`);
    socket.send('the last one');
    const texts: (string | undefined)[] = [];
    while (texts.filter(text => text === 'the last one').length < 2)
      texts.push(...(await page.next('frames')).frames.map(one => one.text));
    socket.terminate();
  });

  test('decodes few messages a second if each inflates to 256 KiB', async () => {
    const compressed = await startServer('--inspect', '--compress', 'takeover');
    const other = page;
    try {
      page = await openInspector(compressed.port);
      const headers = {
        'Sec-WebSocket-Extensions':
          'permessage-deflate; client_no_context_takeover; server_no_context_takeover',
      };
      const client = await connectRaw(compressed.port, { path: '/broadcast', headers });
      await watchClient(client);
      const size = 262_000;
      const deflated = deflateRawSync(Buffer.alloc(size, 'ribbit '), { finishFlush: constants.Z_SYNC_FLUSH });
      const bomb = frame(1, deflated.subarray(0, -4), { rsv: 4 });
      const bombs = 100;
      const start = performance.now();
      client.send(Buffer.concat(Array.from({ length: bombs }, () => bomb)));
      let shown = 0;
      let arrived = 0;
      while (arrived < bombs) {
        const { frames, skipped } = await page.next('frames');
        shown += frames.filter(one => one.contentLength === size).length;
        arrived += frames.length + skipped;
      }
      const cost = 1 + Math.floor(size / contentPerFrame);
      const allowance = (1 + (performance.now() - start) / 1000) * maxInspectedFrames;
      assert.ok(shown > 0 && (shown - 1) * cost < allowance, `${shown} shown`);
      client.destroy();
    } finally {
      page.close();
      page = other;
      await compressed.kill();
    }
  });

  test('is exported as a recording, which ends where frames were left out', async () => {
    const socket = await open('/echo');
    const serial = await watchClient(socket);
    socket.send('one');
    await nextFrames(2);
    page.send({ type: 'export', serial });
    const { text, isCut } = await page.next('recording');
    assert.equal(isCut, false);
    const { header, events } = parseRecording('exported', text);
    assert.equal(header.side, 'server');
    assert.deepEqual(
      events.map(event => event.kind === 'frame' && [event.from, event.content?.bytes.toString()]),
      [
        ['client', 'one'],
        ['server', 'one'],
      ],
    );
    for (let i = 0; i < 3000; i++) socket.send('many');
    await page.next('frames', ({ skipped }) => skipped > 0);
    page.send({ type: 'pause', isPaused: false });
    page.send({ type: 'export', serial });
    const after = await page.next('recording');
    const last = parseRecording('exported', after.text).events.at(-1);
    assert.ok(after.isCut && last?.kind === 'cut', after.text.slice(-300));
    page.send({ type: 'export', serial: serial + 1 });
    assert.match((await page.next('failed')).why, /not watched/);
    socket.terminate();
  });

  test('sends no frames while the page is paused, and counts them', async () => {
    const socket = await open('/echo');
    await watchClient(socket);
    page.send({ type: 'pause', isPaused: true });
    page.send({ type: 'explain', frame: 1_000_000 });
    await page.next('failed');
    socket.send('unseen');
    await once(socket, 'message');
    page.send({ type: 'pause', isPaused: false });
    const { frames, skipped } = await page.next('frames');
    assert.deepEqual([frames.length, skipped], [0, 2]);
    socket.terminate();
  });

  test('cannot be an inspector, nor a connection that does not exist', async () => {
    const { added } = await page.next('connections');
    const { serial } = added.find(one => one.isInspector)!;
    page.send({ type: 'watch', serial });
    assert.match((await page.next('failed')).why, /this is an inspector/);
    page.send({ type: 'watch', serial: 1_000_000 });
    assert.equal((await page.next('state')).state, null);
  });
});
