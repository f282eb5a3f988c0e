/** Hostile polling clients use limited memory, and do not affect others. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { skipUnlessLinux } from '../../support/linux.ts';
import {
  ask,
  openPolled,
  openStream,
  pollMany,
  pollOnce,
  post,
  requestBytes,
} from '../../support/pollClient.ts';
import { MiB, openDescriptors, peakMemory, residentMemory } from '../../support/processState.ts';
import { newRandom } from '../../support/random.ts';
import { connectRaw, connectTcp, exchange } from '../../support/rawClient.ts';
import { startServerFor } from '../../support/serverProcess.ts';
import { untilLogged } from '../../support/untilLogged.ts';

const patience = { timeout: 120_000 };

describe('hostile polling clients', () => {
  test('an event stream that is acknowledged but never read does not grow', patience, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const { port, pid } = await startServerFor(t);
    const session = await openPolled(port, 'echo');
    const stream = await openStream(port, session);
    await stream.until('retry');
    stream.socket.pause();
    const body = 'x'.repeat(200_000);
    const before = residentMemory(pid);
    const total = 300;
    let said = 0;
    for (; said < total; said++) {
      const { status } = await ask(port, 'POST', `${session}?seq=${said + 1}&ack=${said}`, { body });
      // After the end of the stream, no sent message is left to acknowledge.
      if (status !== 200) break;
    }
    t.diagnostic(`${said} of ${total}, ${(peakMemory(pid) - before) / MiB} MiB more`);
    assert.ok(said < total / 2, `${said} were taken`);
    stream.socket.destroy();
  });

  test('polls and event streams that are dropped leak no descriptor and no request', patience, async t => {
    if (skipUnlessLinux(t, '/proc')) return;
    const server = await startServerFor(t, '--log-level', 'debug');
    const { port, pid } = server;
    const before = openDescriptors(pid);
    const session = await openPolled(port, 'broadcast');
    for (let round = 0; round < 20; round++) {
      const sockets = await Promise.all(
        Array.from({ length: 10 }, async (_, index) => {
          const socket = await connectTcp(port);
          const headers: Record<string, string> = index % 2 === 0 ? {} : { Accept: 'text/event-stream' };
          socket.write(requestBytes('GET', session, { headers }));
          socket.on('error', () => {});
          return socket;
        }),
      );
      await post(port, session, `${round}`);
      for (const [index, socket] of sockets.entries()) {
        if (index % 3 === 0) socket.resetAndDestroy();
        else socket.destroy();
      }
    }
    assert.equal((await pollMany(port, session, 20)).messages.length, 20);
    await ask(port, 'DELETE', session);
    await untilLogged(server, 'closed');
    // The last requests end one turn after their answer.
    while (openDescriptors(pid) > before) await ask(port, 'GET', '/healthz');
  });

  test('one of many POSTs with the same number is accepted', patience, async t => {
    const { port } = await startServerFor(t);
    const session = await openPolled(port, 'echo');
    for (let seq = 1; seq <= 20; seq++) {
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, index) =>
          ask(port, 'POST', `${session}?seq=${seq}`, { body: `${seq} ${index}` }),
        ),
      );
      for (const { status } of answers) assert.ok(status === 200 || status === 429, `${status}`);
    }
    const { messages } = await pollMany(port, session, 20);
    assert.deepEqual(
      messages.map(({ text }) => Number.parseInt(text!, 10)),
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
  });

  test('the largest POSTs of one client do not delay another', patience, async t => {
    const { port } = await startServerFor(t);
    const headers = { 'Content-Type': 'application/x-ndjson' };
    const body = '{"text":""}\n'.repeat(5000);
    const busy = await Promise.all(Array.from({ length: 4 }, () => openPolled(port, 'echo')));
    const other = await connectRaw(port, { path: '/echo' });
    await Promise.all(
      busy.map(async session => {
        for (let round = 0; round < 4; round++) {
          const first = round * 5000;
          const { body: taken } = await ask(port, 'POST', `${session}?seq=${first + 1}`, { headers, body });
          assert.equal(taken, `{"seq":${first + 5000}}\n`);
          assert.equal((await pollMany(port, session, 5000, first)).messages.length, 5000);
        }
      }),
    );
    await other.end();
  });

  for (const headers of [{}, { Accept: 'text/event-stream' }]) {
    const kind = 'Accept' in headers ? 'streams' : 'polls';
    test(`${kind} that are not read do not each hold all messages`, patience, async t => {
      if (skipUnlessLinux(t, '/proc')) return;
      const { port, pid } = await startServerFor(t);
      const session = await openPolled(port, 'echo');
      const body = 'x'.repeat(8 * MiB);
      await post(port, session, body);
      assert.equal((await pollOnce(port, session, 0)).messages.length, 1);
      const before = residentMemory(pid);
      const askers = await Promise.all(
        Array.from({ length: 40 }, async () => {
          const socket = await connectTcp(port);
          socket.on('error', () => {});
          return socket;
        }),
      );
      // First one after the other, then all at once.
      for (const socket of askers.slice(0, 10)) {
        socket.write(requestBytes('GET', session, { headers }));
        await ask(port, 'GET', '/healthz');
      }
      for (const socket of askers.slice(10)) socket.write(requestBytes('GET', session, { headers }));
      for (let i = 0; i < 5; i++) await ask(port, 'GET', '/healthz');
      const grown = peakMemory(pid) - before;
      t.diagnostic(`${kind}: ${(grown / MiB).toFixed(1)} MiB more`);
      assert.ok(grown < 120 * MiB, `its memory grew by ${grown} bytes`);
      const { messages } = await pollMany(port, session, 1);
      assert.equal(messages[0]?.text?.length, body.length);
      for (const socket of askers) socket.destroy();
    });
  }

  test('malformed requests are refused one by one', patience, async t => {
    const { port, child } = await startServerFor(t);
    const random = newRandom(3);
    const session = await openPolled(port, 'echo');
    const other = await openPolled(port, 'echo');
    const waiting = pollOnce(port, other, 0);
    const statuses = new Set<number>();
    for (let times = 0; times < 400; times++) {
      const method = random.pick(['GET', 'POST', 'DELETE', 'PUT', 'HEAD', 'OPTIONS', 'PATCH']);
      const place = random.pick([
        '/poll',
        '/poll/',
        '/poll/s',
        '/poll/s/',
        '/poll//',
        '/poll/s/%00',
        session,
      ]);
      const query = random.pick([
        '',
        '?',
        '?ack',
        '?ack=',
        '?ack=1',
        '?ack=99999999999999999',
        '?seq=-1',
        '?ack=%',
      ]);
      const headers = {
        Accept: random.pick(['*/*', 'text/event-stream', 'text/event-stream;q=0', ',']),
        'Last-Event-ID': random.pick(['', '0', '1', 'x', '1, 2']),
        'Content-Type': random.pick(['', ';', 'application/x-ndjson', 'application/octet-stream']),
        Connection: 'close',
      };
      const body = random.oneIn(2) ? random.bytes(random.below(50)) : undefined;
      const bytes = requestBytes(method, place + query, body === undefined ? { headers } : { headers, body });
      const socket = await connectTcp(port);
      socket.on('error', () => {});
      // Do not await a request that waits.
      const answer = new Promise<string>(resolve => {
        socket.once('data', piece => resolve(piece.toString('latin1'))).once('close', () => resolve(''));
      });
      socket.write(bytes);
      if (method === 'GET' && place === session) socket.end();
      else statuses.add(Number((await answer).split(' ')[1]));
      socket.destroy();
    }
    for (const status of statuses) assert.ok(status >= 200 && status < 500, `${status}`);
    await post(port, other, 'still here');
    assert.equal((await waiting).messages[0]?.text, 'still here');
    assert.equal(child.exitCode, null);
    assert.match((await exchange(port, requestBytes('GET', '/healthz'))).toString(), /ok\n$/);
  });
});
