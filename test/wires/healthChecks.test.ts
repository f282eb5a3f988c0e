/** Health checks of load balancers and proxies are answered, and not logged. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { makeCertificate, tlsOptions } from '../support/certificates.ts';
import { readAnswer } from '../support/pollClient.ts';
import { proxySignature } from '../support/proxyHeaders.ts';
import { connectTcp, connectTls, exchange } from '../support/rawClient.ts';
import { type ServerProcess, startServerFor } from '../support/serverProcess.ts';

const identity = makeCertificate('localhost');

/** A PROXY header, version 2, LOCAL, without addresses: HAProxy's own check. */
const local = Buffer.concat([proxySignature, Buffer.from('20000000', 'hex')]);

/** Log lines that a check must not cause; the line at the start is not counted. */
function complaints(server: ServerProcess): unknown[] {
  const wanted = new Set(['listening', 'any web page may connect']);
  return server.logged().filter(({ event }) => !wanted.has(String(event)));
}

/** Resolves when the server has read all earlier input. */
async function settle(port: number): Promise<void> {
  await exchange(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
}

for (const sockets of ['auto', 'stream']) {
  test(`health checks in every usual form are answered (--sockets ${sockets})`, async t => {
    const server = await startServerFor(t, '--sockets', sockets);
    for (const [request, status, allow] of [
      ['OPTIONS / HTTP/1.1\r\nHost: x\r\nConnection: close', 204, 'GET, HEAD, OPTIONS'],
      ['OPTIONS / HTTP/1.0', 204, 'GET, HEAD, OPTIONS'],
      ['OPTIONS /healthz HTTP/1.1\r\nHost: x\r\nConnection: close', 204, 'GET, HEAD, OPTIONS'],
      ['OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close', 204, 'GET, HEAD, POST, DELETE, OPTIONS'],
      ['OPTIONS * HTTP/1.0', 204, 'GET, HEAD, POST, DELETE, OPTIONS'],
      ['OPTIONS http://x HTTP/1.1\r\nHost: x\r\nConnection: close', 204, 'GET, HEAD, OPTIONS'],
      ['OPTIONS /echo HTTP/1.1\r\nHost: x\r\nConnection: close', 204, 'GET, OPTIONS'],
      ['OPTIONS /nothing HTTP/1.1\r\nHost: x\r\nConnection: close', 404, undefined],
      ['HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close', 200, undefined],
      ['HEAD /healthz HTTP/1.0', 200, undefined],
      ['HEAD /nothing HTTP/1.1\r\nHost: x\r\nConnection: close', 404, undefined],
      ['HEAD /echo HTTP/1.1\r\nHost: x\r\nConnection: close', 426, undefined],
      ['GET /echo HTTP/1.0', 426, undefined],
      ['GET / HTTP/1.0', 200, undefined],
      ['POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0', 405, 'GET, HEAD, OPTIONS'],
    ] as const) {
      const answer = readAnswer(await exchange(server.port, `${request}\r\n\r\n`));
      assert.deepEqual([answer.status, answer.headers.get('allow')], [status, allow], request);
      if (!request.startsWith('GET') && !request.startsWith('POST') && !request.startsWith('OPTIONS /n'))
        assert.equal(answer.body, '', request);
    }
    assert.deepEqual(complaints(server), []);
    // RFC 9112 §3.2.4: the asterisk is only for OPTIONS.
    assert.equal(readAnswer(await exchange(server.port, 'GET * HTTP/1.0\r\n\r\n')).status, 400);
  });

  test(`connections that end early are not logged (--sockets ${sockets})`, async t => {
    const trust = ['--trust-proxy', '127.0.0.1', '--trust-proxy', 'unix'];
    const server = await startServerFor(t, '--sockets', sockets, ...trust, ...tlsOptions(identity));
    const { port } = server;
    const pieces = [
      Buffer.alloc(0),
      local,
      local.subarray(0, 8),
      Buffer.from('PROXY UNKNOWN\r\n'),
      Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n'),
      Buffer.concat([local, Buffer.from('OPTIONS / HTTP/1.0\r\n\r\n')]),
      Buffer.from('GET / HTTP/1.1\r\n'),
      Buffer.from('1603010200010001fc0303', 'hex'),
    ];
    for (let round = 0; round < 5; round++) {
      for (const piece of pieces) {
        // The server may accept it before or after the reset.
        const reset = await connectTcp(port);
        reset.on('error', () => {});
        await new Promise(resolve => reset.write(piece, resolve));
        reset.resetAndDestroy();
        const ended = await connectTcp(port);
        ended.on('error', () => {}).resume();
        ended.end(piece);
        await once(ended, 'close');
      }
      const secure = await connectTls(port);
      secure.on('error', () => {}).destroy();
    }
    // A request that is reset before a stopped server can accept the connection.
    server.child.kill('SIGSTOP');
    for (let i = 0; i < 10; i++) {
      const reset = await connectTcp(port);
      await new Promise(resolve => reset.write(local, resolve));
      reset.resetAndDestroy();
    }
    server.child.kill('SIGCONT');
    await settle(port);
    assert.deepEqual(complaints(server), []);
  });
}
