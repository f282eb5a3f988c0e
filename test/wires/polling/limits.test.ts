/** Limits, deadlines and the graceful shutdown of polling sessions. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { echo } from '../../../src/handlers/echo.ts';
import { maxPollingSessions } from '../../../src/protocol/limits.ts';
import { newPollRoute } from '../../../src/wires/polling/pollRoute.ts';
import { newFakeServer, openFakeConnection, plainRequest } from '../../support/fakeSocket.ts';
import { ask, openPolled, openStream, pollMany, pollOnce, post } from '../../support/pollClient.ts';
import { connectRaw, tryRaw } from '../../support/rawClient.ts';
import { frame, opcode } from '../../support/rawFrame.ts';
import { startServerFor } from '../../support/serverProcess.ts';
import { untilLogged } from '../../support/untilLogged.ts';

const patience = { timeout: 60_000 };

describe('a polling session', () => {
  test('ends after --poll-timeout without a request, and its handler is notified', patience, async t => {
    const server = await startServerFor(t, '--poll-timeout', '200ms', '--log-level', 'debug');
    const session = await openPolled(server.port, 'echo');
    const { code, reason, why } = await server.untilLogged(entry => entry['code'] !== undefined);
    assert.deepEqual(
      [code, reason, why],
      [1006, 'no request for 0.2 s', 'no request within 200ms (--poll-timeout)'],
    );
    assert.equal((await ask(server.port, 'GET', session)).status, 404);
  });

  test(
    'ends after --poll-timeout even if earlier requests were refused by their heads',
    patience,
    async t => {
      const server = await startServerFor(t, '--poll-timeout', '200ms', '--log-level', 'debug');
      const session = await openPolled(server.port, 'echo');
      const statuses = [await ask(server.port, 'PUT', session)];
      statuses.push(await ask(server.port, 'POST', session, { headers: { 'Content-Length': '999999999' } }));
      assert.deepEqual(
        statuses.map(({ status }) => status),
        [405, 413],
      );
      const { reason } = await server.untilLogged(({ code }) => code === 1006);
      assert.equal(reason, 'no request for 0.2 s');
    },
  );

  test('lives while it is polled, and each poll is answered within the ping interval', patience, async t => {
    const { port } = await startServerFor(t, '--poll-timeout', '2s', '--ping-interval', '300ms');
    const session = await openPolled(port, 'echo');
    for (let times = 0; times < 10; times++)
      assert.deepEqual(await pollOnce(port, session, 0), { messages: [] });
    await post(port, session, 'still');
    assert.equal((await pollOnce(port, session, 0)).messages.length, 1);
  });

  test('sends heartbeats on a silent event stream', patience, async t => {
    const { port } = await startServerFor(t, '--ping-interval', '100ms', '--poll-timeout', '500ms');
    const stream = await openStream(port, await openPolled(port, 'echo'));
    await stream.until('\n\n:\n\n:\n\n:\n\n:\n\n:\n\n:\n\n:\n\n');
    stream.socket.destroy();
  });

  test(
    'is closed as a slow consumer of broadcasts, and still gets the queued messages and the reason',
    patience,
    async t => {
      const server = await startServerFor(t, '--max-buffered', '64KB');
      const { port } = server;
      const session = await openPolled(port, 'broadcast');
      const talker = await connectRaw(port, { path: '/broadcast' });
      const text = 'x'.repeat(1000);
      const message = frame(opcode.text, Buffer.from(text));
      const total = 1000;
      for (let sent = 0; sent < total; sent++) {
        talker.send(message);
        assert.equal((await talker.nextFrame())?.payload.length, 1000);
      }
      await untilLogged(server, 'slow consumer closed');
      const { messages, closed } = await pollMany(port, session, total);
      assert.deepEqual(closed, { code: 1013, reason: 'too far behind' });
      assert.ok(messages.length > 200 && messages.length < 400, `${messages.length}`);
      assert.deepEqual(new Set(messages.map(one => one.text)), new Set([text]));
      assert.deepEqual(
        messages.map(({ seq }) => seq),
        messages.map((_, index) => index + 1),
      );
      talker.destroy();
    },
  );

  test('pauses its POSTs while too much output is unacknowledged', patience, async t => {
    const { port } = await startServerFor(t);
    const session = await openPolled(port, 'echo');
    const text = 'x'.repeat(300_000);
    await post(port, session, text);
    const waiting = post(port, session, 'second');
    // This POST waits, so the next one gets 429.
    for (;;) {
      const third = await ask(port, 'POST', `${session}?seq=3`, { body: 'third' });
      assert.ok(third.status === 429 || third.status === 409, third.body);
      if (third.status === 429) break;
    }
    assert.deepEqual((await pollOnce(port, session, 0)).messages, [{ seq: 1, text }]);
    assert.deepEqual((await pollOnce(port, session, 1)).messages, [{ seq: 2, text: 'second' }]);
    assert.equal(await waiting, 2);
  });

  test('answers a POST that waits too long with 429', patience, async t => {
    const { port } = await startServerFor(t, '--ping-interval', '300ms');
    const session = await openPolled(port, 'echo');
    await post(port, session, 'x'.repeat(300_000));
    const { status } = await ask(port, 'POST', `${session}?seq=2`, { body: 'second' });
    assert.equal(status, 429);
    assert.equal((await pollOnce(port, session, 0)).messages.length, 1);
    const polled = pollOnce(port, session, 1);
    assert.equal(await post(port, session, 'second', 2), 2);
    const { messages } = await polled;
    if (messages.length > 0) assert.deepEqual(messages, [{ seq: 2, text: 'second' }]);
  });

  test('refuses a message longer than --max-message, as text, bytes or JSON lines', patience, async t => {
    const { port } = await startServerFor(t, '--max-message', '1000');
    const session = await openPolled(port, 'echo');
    assert.equal((await ask(port, 'POST', session, { body: 'x'.repeat(1001) })).status, 413);
    assert.equal(await post(port, session, 'x'.repeat(1000)), 1);
    const headers = { 'Content-Type': 'application/x-ndjson' };
    const body = `{"text":"${'x'.repeat(1000)}"}`;
    assert.equal((await ask(port, 'POST', session, { headers, body })).status, 413);
  });

  test('counts as a connection, once, however many requests it has', patience, async t => {
    const { port } = await startServerFor(t, '--max-connections', '100', '--max-per-address', '0');
    const sessions: string[] = [];
    while (sessions.length < 99) sessions.push(await openPolled(port, 'broadcast'));
    // All clients poll at once, repeatedly.
    const talker = sessions[0]!;
    for (let round = 1; round <= 5; round++) {
      const polls = sessions.map(session => pollOnce(port, session, round - 1));
      await post(port, talker, `${round}`);
      for (const { messages } of await Promise.all(polls)) assert.equal(messages[0]?.text, `${round}`);
    }
    const streams = await Promise.all(sessions.map(session => openStream(port, session)));
    await Promise.all(streams.map(stream => stream.until('retry')));
    // There is room for exactly one more.
    const socket = await connectRaw(port);
    const refused = await ask(port, 'POST', '/poll/echo');
    assert.equal(refused.status, 503);
    assert.match(refused.body, /100 connections already/);
    const late = await tryRaw(port);
    assert.equal(late.status, 503);
    late.destroy();
    await ask(port, 'DELETE', talker);
    await openPolled(port, 'echo');
    for (const stream of streams) stream.socket.destroy();
    socket.destroy();
  });

  test('is refused with 503 above the default number of sessions', () => {
    const server = newFakeServer('--max-per-address', '0');
    const route = newPollRoute(server);
    const open = { ...plainRequest, method: 'POST', path: '/poll/echo' };
    const answer = () => {
      const { connection } = openFakeConnection(server, undefined);
      route.admit(open, connection);
      route.answer(connection, open, Buffer.alloc(0));
    };
    server.handlers.set('echo', echo);
    server.polling.clients = maxPollingSessions - 1;
    answer();
    assert.equal(server.polling.clients, maxPollingSessions);
    assert.throws(answer, {
      code: 503,
      option: 'maxConnections',
      message: /65536 sessions over HTTP already/,
    });
  });

  test('must log in to the chat within the handshake timeout', patience, async t => {
    const { port } = await startServerFor(t, '--handshake-timeout', '300ms');
    const { closed } = await pollOnce(port, await openPolled(port, 'tpacket'), 0);
    assert.deepEqual(closed, { code: 1008, reason: 'no magic string and nick within 0.3 s' });
  });

  test(
    'is closed after --idle-timeout without a message, although its requests continue',
    patience,
    async t => {
      const { port } = await startServerFor(t, '--idle-timeout', '300ms');
      const session = await openPolled(port, 'echo');
      const { closed } = await pollMany(port, session, 1);
      assert.deepEqual(closed, { code: 1001, reason: 'no message for 0.3 s' });
    },
  );

  test('keeps messages for the next poll after its client has abandoned one', patience, async t => {
    const { port } = await startServerFor(t);
    const session = await openPolled(port, 'echo');
    for (let times = 0; times < 3; times++) {
      const stream = await openStream(port, session);
      await stream.until('retry');
      stream.socket.resetAndDestroy();
    }
    await post(port, session, 'hello');
    assert.deepEqual((await pollOnce(port, session, 0)).messages, [{ seq: 1, text: 'hello' }]);
  });

  test(
    'gets its close frame by the waiting request in a graceful shutdown, which does not wait for other sessions',
    patience,
    async t => {
      const server = await startServerFor(t, '--drain-timeout', '0');
      const { port } = server;
      await openPolled(port, 'echo');
      const polling = pollOnce(port, await openPolled(port, 'echo'), 0);
      const stream = await openStream(port, await openPolled(port, 'echo'));
      await stream.until('retry');
      const [told, code] = await Promise.all([polling, server.stop()]);
      assert.deepEqual(told.closed, { code: 1001, reason: 'the server is going away' });
      await stream.ended;
      assert.match(
        stream.text(),
        /\n\nevent: closed\ndata: \{"code":1001,"reason":"the server is going away"\}\n\n$/,
      );
      assert.equal(code, 0);
    },
  );
});
