/** The workbench: connections of the page to this server. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { InspectedFrame } from '../../../src/handlers/inspector/messages.ts';
import {
  maxCompressedAnswer,
  maxWorkbenches,
  maxWorkbenchSend,
} from '../../../src/protocol/inspectorLimits.ts';
import { type InspectorClient, openInspector } from '../../support/inspectorClient.ts';
import { frame } from '../../support/rawFrame.ts';
import { type ServerProcess, startServer, startServerFor } from '../../support/serverProcess.ts';

const plain = { subprotocols: [], isCompressed: false } as const;
const hex = (...pieces: Buffer[]) => Buffer.concat(pieces).toString('hex');

async function enter(server: ServerProcess): Promise<InspectorClient> {
  const page = await openInspector(server.port);
  await page.next('welcome');
  return page;
}

/** Collects the frames of answers until one fits. */
async function untilFrame(
  page: InspectorClient,
  fits: (one: InspectedFrame) => boolean,
): Promise<{ frames: InspectedFrame[]; hex: string }> {
  const frames: InspectedFrame[] = [];
  let digits = '';
  while (!frames.some(fits)) {
    const answer = await page.next('answer');
    frames.push(...answer.frames);
    digits += answer.hex;
  }
  return { frames, hex: digits };
}

describe('the workbench', () => {
  let server: ServerProcess;
  let page: InspectorClient;
  before(async () => {
    server = await startServer('--inspect', '--faults', '--max-per-address', '20');
  });
  after(() => server.kill());
  beforeEach(async () => {
    page = await enter(server);
  });
  afterEach(async () => {
    page.close();
    await page.closed;
  });

  test('connects to a handler, sends frames, and shows the answer as bytes and as frames', async () => {
    page.send({ type: 'open', id: 1, path: '/echo', ...plain });
    const opened = await page.next('opened');
    assert.match(opened.request, /^GET \/echo HTTP\/1\.1\r\nHost: localhost\r\n/);
    assert.match(opened.response, /^HTTP\/1\.1 101 /);
    page.send({ type: 'send', id: 1, hex: hex(frame(1, 'hello'), frame(9, 'ping')) });
    const answer = await untilFrame(page, one => one.direction === 'out' && one.first === 0x8a);
    const shown = answer.frames
      .filter(one => one.kind === 'frame')
      .map(one => `${one.direction} ${one.text}`);
    assert.deepEqual(shown.sort(), ['in hello', 'in ping', 'out hello', 'out ping']);
    assert.ok(answer.hex.includes(`8105${Buffer.from('hello').toString('hex')}`));
    const { added } = await page.next('connections', ({ added }) => added.some(one => one.workbench === 1));
    assert.equal(added.find(one => one.workbench === 1)?.serial, opened.serial);
    page.send({ type: 'send', id: 1, hex: hex(frame(8, Buffer.from([3, 232]))) });
    assert.equal((await page.next('shut')).why, 'the client closed it with 1000 (it is done)');
  });

  test('sends invalid bytes, and shows how the server fails the connection', async () => {
    page.send({ type: 'open', id: 7, path: '/echo', ...plain });
    await page.next('opened');
    page.send({ type: 'send', id: 7, hex: hex(frame(1, 'not masked', { key: null })) });
    const { frames } = await untilFrame(page, one => one.code !== undefined);
    assert.ok(frames.some(one => one.kind === 'bytes' && one.direction === 'in'));
    assert.equal(frames.find(one => one.code !== undefined)?.code, 1002);
    assert.match((await page.next('shut')).why, /mask/);
  });

  test('negotiates compression and subprotocols', async () => {
    page.send({
      type: 'open',
      id: 1,
      path: '/channels/pond',
      subprotocols: ['channels.json'],
      isCompressed: true,
    });
    const opened = await page.next('opened');
    assert.deepEqual([opened.subprotocol, opened.isCompressed], ['channels.json', true]);
    page.send({ type: 'shut', id: 1 });
    assert.notEqual((await page.next('shut')).why, '');
  });

  test('shows the response to a refused handshake', async () => {
    page.send({ type: 'open', id: 1, path: '/replay/none', ...plain });
    const { response } = await page.next('shut');
    assert.match(String(response), /^HTTP\/1\.1 404 /);
  });

  test('refuses an invalid handshake before it is sent', async () => {
    for (const headers of [{ 'bad name': 'x' }, { Good: 'a\r\nEvil: b' }, { Host: 'a b' }]) {
      page.send({ type: 'open', id: 1, path: '/echo', ...plain, headers });
      assert.equal((await page.next('failed')).about, 'open');
    }
    page.send({ type: 'open', id: 1, path: 'echo', ...plain });
    assert.match((await page.next('failed')).why, /not a percent-encoded path/);
  });

  test('can be watched like any other connection, with faults', async () => {
    page.send({ type: 'open', id: 1, path: '/faulty?after=1&close=1011', ...plain });
    const { serial } = await page.next('opened');
    page.send({ type: 'watch', serial });
    page.send({ type: 'send', id: 1, hex: hex(frame(1, 'one')) });
    const { frames } = await untilFrame(page, one => one.code !== undefined);
    assert.equal(frames.find(one => one.code !== undefined)?.code, 1011);
    await page.next('frames', message => message.frames.some(one => one.kind === 'fault'));
  });

  test('drops a connection on request, and all of them when the page leaves', async () => {
    page.send({ type: 'open', id: 1, path: '/echo', ...plain });
    await page.next('opened');
    page.send({ type: 'shut', id: 1, isReset: true });
    assert.match((await page.next('shut')).why, /ECONNRESET/);
    page.send({ type: 'open', id: 1, path: '/echo', ...plain });
    const { serial } = await page.next('opened');
    const other = await enter(server);
    await other.next('connections', ({ added }) => added.some(one => one.serial === serial));
    page.close();
    await page.closed;
    await other.next('connections', ({ ended }) => ended.some(one => one.serial === serial));
    other.close();
    await other.closed;
    page = await enter(server);
  });

  test('answers with megabytes, as fast as the page reads', async () => {
    page.send({ type: 'open', id: 1, path: '/echo', ...plain });
    await page.next('opened');
    const pieces = 40;
    const piece = Buffer.alloc(100_000, 'x');
    for (let i = 0; i < pieces; i++) {
      const isLast = i === pieces - 1;
      const fragment = frame(i === 0 ? 2 : 0, piece, { fin: isLast });
      if (isLast) page.pause();
      page.send({ type: 'send', id: 1, hex: hex(fragment, ...(isLast ? [] : [frame(9, '')])) });
      // The pong shows that the server has read the fragment: it refuses bytes that wait behind too many others.
      if (!isLast) await untilFrame(page, one => one.direction === 'out' && one.first === 0x8a);
    }
    page.resume();
    let size = 0;
    while (size < pieces * piece.length) size += (await page.next('answer')).hex.length / 2;
    assert.ok(size < pieces * piece.length + 100, `${size}`);
  });

  test('answers with a few kilobytes at a time if they are compressed', async () => {
    page.send({ type: 'open', id: 1, path: '/echo', subprotocols: [], isCompressed: true });
    assert.ok((await page.next('opened')).isCompressed);
    const size = 100_000;
    page.send({ type: 'send', id: 1, hex: hex(frame(2, randomBytes(size))) });
    let received = 0;
    while (received < size) {
      const answer = await page.next('answer');
      const bytes = answer.hex.length / 2;
      assert.ok(bytes <= maxCompressedAnswer, `${bytes} bytes`);
      received += bytes;
    }
  });

  test('has few connections, and limits each message', async () => {
    for (let id = 1; id <= maxWorkbenches; id++) {
      page.send({ type: 'open', id, path: '/echo', ...plain });
      await page.next('opened');
    }
    page.send({ type: 'open', id: 1, path: '/echo', ...plain });
    assert.match((await page.next('failed')).why, /1 is open already/);
    page.send({ type: 'open', id: 99, path: '/echo', ...plain });
    assert.match((await page.next('failed')).why, /4 workbench connections are open already/);
    page.send({ type: 'send', id: 99, hex: '00' });
    assert.match((await page.next('failed')).why, /no workbench connection 99/);
    page.send({ type: 'send', id: 1, hex: '00'.repeat(maxWorkbenchSend + 1000) });
    assert.equal((await page.closed).code, 1009);
    page = await enter(server);
  });
});

test('the workbench has no rights of its own: rules of access apply to it', async t => {
  const server = await startServerFor(t, '--inspect', '--allow', '/echo: connect=nobody');
  const page = await enter(server);
  page.send({ type: 'open', id: 1, path: '/echo', ...plain });
  const { frames } = await untilFrame(page, one => one.code !== undefined);
  assert.ok([4401, 4403].includes(frames.find(one => one.code !== undefined)?.code ?? 0));
  page.send({ type: 'open', id: 2, path: '/broadcast', ...plain });
  await page.next('opened', ({ id }) => id === 2);
});

test('the workbench counts against the limit of its address', async t => {
  const server = await startServerFor(t, '--inspect', '--max-per-address', '2');
  const page = await enter(server);
  page.send({ type: 'open', id: 1, path: '/echo', ...plain });
  await page.next('opened');
  page.send({ type: 'open', id: 2, path: '/echo', ...plain });
  assert.match(String((await page.next('shut')).response), /^HTTP\/1\.1 429 /);
});

test('the workbench obeys --origin', async t => {
  const server = await startServerFor(t, '--inspect', '--origin', 'same');
  const page = await enter(server);
  page.send({ type: 'open', id: 1, path: '/echo', ...plain, headers: { Origin: 'https://evil.example' } });
  assert.match(String((await page.next('shut')).response), /^HTTP\/1\.1 403 /);
});
