/** Faults on every kind of socket: bare handles, streams, TLS and Unix sockets. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { listen } from '../../../src/index.ts';
import type { ListenOptions } from '../../../src/testing/interface.ts';
import { makeCertificate } from '../../support/certificates.ts';
import { connectRaw, handshakeRequest } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const identity = makeCertificate('faulty');

async function open(t: TestContext, options: ListenOptions) {
  const server = await listen(options);
  t.after(() => server.close());
  return server;
}

describe('a fault', () => {
  for (const [name, options, tls] of [
    ['on a bare handle', {}, undefined],
    ['on a stream', { sockets: 'stream' }, undefined],
    ['over TLS', { tlsCert: identity.cert, tlsKey: identity.key }, {}],
    ['over TLS on a stream', { tlsCert: identity.cert, tlsKey: identity.key, sockets: 'stream' }, {}],
  ] as const) {
    test(`${name} changes the output, and resets the connection`, async t => {
      const server = await open(t, { ...options, faults: true });
      const client = await connectRaw(server.port, {
        path: '/faulty?double&delay=1ms',
        ...(tls === undefined ? {} : { tls }),
      });
      t.after(() => client.destroy());
      const long = 'x'.repeat(300_000);
      client.send(frame(opcode.text, 'a'), frame(opcode.text, long));
      const frames = [await client.nextFrame(), await client.nextFrame(), await client.nextFrame()];
      assert.deepEqual(
        frames.map(one => one?.payload.toString().length),
        [1, long.length, long.length],
      );
      const [connection] = server.connections;
      connection!.fault('reset');
      assert.equal(await client.ended, 'ECONNRESET');
    });
  }

  test('on a Unix socket closes the connection instead of resetting it, because Unix sockets have no reset', async t => {
    for (const sockets of ['auto', 'stream'] as const) {
      const path = join(temporaryFolder(), 'socket');
      const server = await open(t, { faults: true, listen: `unix:${path}`, sockets });
      const socket = connect({ path });
      socket.write(handshakeRequest({ path: '/faulty?after=0&reset' }));
      socket.resume();
      await once(socket, 'close');
      await server.close();
    }
  });
});
