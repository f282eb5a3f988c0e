/** Clients that do not echo, and a server that stops during a case. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import WebSocket from 'ws';
import { classicCases } from '../../../src/conformance/table.ts';
import { connectRaw, type RawClient } from '../../support/rawClient.ts';
import { closeFrame, frame, opcode } from '../../support/rawFrame.ts';
import { type ServerProcess, startServerWith } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { suiteOptions } from './drivers.ts';

const placeOf = (number: string) => 1 + classicCases.findIndex(test => test.number === number);

describe('a case', () => {
  let server: ServerProcess;
  let folder: string;
  before(async () => {
    folder = temporaryFolder();
    server = await startServerWith(suiteOptions, { folder });
  });
  after(async () => {
    assert.equal(await server.stop(), 0);
  });

  const begin = (number: string, headers = {}): Promise<RawClient> =>
    connectRaw(server.port, { path: `/runCase?case=${placeOf(number)}&agent=raw`, headers });

  /** Waits for the end of the raw client's case. @returns the behavior */
  async function status(number: string): Promise<string> {
    const client = new WebSocket(
      `ws://127.0.0.1:${server.port}/getCaseStatus?case=${placeOf(number)}&agent=raw`,
    );
    let text = '';
    client.on('message', data => {
      text = String(data);
    });
    await new Promise(resolve => client.once('close', resolve));
    return JSON.parse(text).behavior;
  }

  test('begins with its first frame right after the handshake, and without compression', async () => {
    const client = await begin('1.1.1', { 'Sec-WebSocket-Extensions': 'permessage-deflate' });
    assert.equal(client.headers.get('sec-websocket-extensions'), undefined);
    const first = await client.nextFrame();
    assert.deepEqual([first?.opcode, first?.payload.length], [opcode.text, 0]);
    client.destroy();
    assert.equal(await status('1.1.1'), 'FAILED');
  });

  test('of compression answers the offer with its own parameters', async () => {
    const client = await begin('13.3.1', {
      'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
    });
    assert.equal(
      client.headers.get('sec-websocket-extensions'),
      'permessage-deflate; client_max_window_bits=8',
    );
    client.destroy();
    assert.equal(await status('13.3.1'), 'FAILED');
  });

  test('of compression is UNIMPLEMENTED for a client without an offer', async () => {
    const client = await begin('12.1.1');
    assert.deepEqual((await client.nextFrame())?.payload, Buffer.from([0x03, 0xe8]));
    client.send(closeFrame(1000));
    assert.equal(await status('12.1.1'), 'UNIMPLEMENTED');
    await client.end();
  });

  test('fails a client that does not mask', async () => {
    const client = await begin('1.1.2');
    await client.nextFrame();
    client.send(Buffer.from([0x81, 0x01, 0x2a]));
    const close = await client.nextFrame();
    assert.deepEqual([close?.opcode, close?.payload.readUInt16BE(0)], [opcode.close, 1002]);
    assert.equal(await client.ended, 'FIN');
    client.destroy();
    assert.equal(await status('1.1.2'), 'FAILED');
  });

  test('fails a client whose message inflates to more than the largest echo', async () => {
    const client = await begin('12.1.2', { 'Sec-WebSocket-Extensions': 'permessage-deflate' });
    await client.nextFrame();
    client.send(frame(opcode.text, deflateRawSync(Buffer.alloc(64 * 1024 * 1024)), { rsv: 4 }));
    const close = await client.nextFrame();
    assert.deepEqual([close?.opcode, close?.payload.readUInt16BE(0)], [opcode.close, 1009]);
    client.destroy();
    assert.equal(await status('12.1.2'), 'FAILED');
  });

  test('reads frames that arrive byte by byte', async () => {
    const client = await begin('1.2.2');
    const { payload } = (await client.nextFrame())!;
    await client.sendChopped(frame(opcode.binary, payload), 1);
    assert.equal((await client.nextFrame())?.opcode, opcode.close);
    await client.sendChopped(closeFrame(1000), 1);
    assert.equal(await status('1.2.2'), 'OK');
    assert.equal(await client.ended, 'FIN');
    client.destroy();
  });
});

test('a shutdown ends a case without a result, and the results of the others are written', async () => {
  const folder = temporaryFolder();
  const server = await startServerWith(suiteOptions, { folder });
  const over = await connectRaw(server.port, { path: '/runCase?case=1&agent=raw' });
  over.destroy();
  await server.untilLogged(({ event }) => event === 'case over');
  const client = await connectRaw(server.port, { path: '/runCase?case=2&agent=raw' });
  await client.nextFrame();
  const ended = server.stop();
  assert.equal(await client.ended, 'FIN');
  client.destroy();
  assert.equal(await ended, 0);
  const reports = join(folder, 'reports/clients');
  assert.deepEqual(readdirSync(reports).toSorted(), ['index.html', 'index.json', 'raw_case_1_1_1.json']);
  assert.equal(existsSync(join(reports, 'raw_case_1_1_2.json')), false);
});
