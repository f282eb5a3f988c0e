/** Each step of the polling protocol, as bytes. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { maxIgnoredBody } from '../../../src/protocol/limits.ts';
import {
  ask,
  openPolled,
  openStream,
  pollMany,
  pollOnce,
  post,
  readAnswer,
  requestBytes,
} from '../../support/pollClient.ts';
import { connectTcp, exchange, readToEnd } from '../../support/rawClient.ts';
import { type ServerProcess, startServer, startServerFor } from '../../support/serverProcess.ts';

describe('a polling session', { timeout: 60_000 }, () => {
  let server: ServerProcess;
  let port: number;
  before(async () => {
    server = await startServer('--log-level', 'debug');
    port = server.port;
  });
  after(async () => {
    assert.equal(await server.stop(), 0);
  });

  test('is opened by POST, with an unpredictable token', async () => {
    const first = await ask(port, 'POST', '/poll/echo');
    assert.equal(first.status, 201);
    assert.equal(first.headers.get('cache-control'), 'no-store');
    assert.equal(first.headers.get('content-type'), 'application/json');
    const { session } = JSON.parse(first.body) as { session: string };
    assert.ok(Buffer.from(session, 'base64url').length >= 16);
    assert.equal(first.headers.get('location'), `/poll/s/${session}`);
    assert.notEqual((await ask(port, 'POST', '/poll/echo')).body, first.body);
  });

  test('answers each poll with the queued messages until they are acknowledged', async () => {
    const session = await openPolled(port, 'echo');
    assert.equal(await post(port, session, 'hello'), 1);
    const hello = { messages: [{ seq: 1, text: 'hello' }] };
    assert.deepEqual(await pollOnce(port, session, 0), hello);
    assert.deepEqual(await pollOnce(port, session, 0), hello, 'the answer may have been lost');
    await post(port, session, '"\n\u2028👋\0');
    assert.deepEqual(await pollOnce(port, session, 1), { messages: [{ seq: 2, text: '"\n\u2028👋\0' }] });
  });

  test('lets a poll wait for the next message', async () => {
    const session = await openPolled(port, 'echo');
    const polled = pollOnce(port, session, 0);
    await post(port, session, 'later');
    assert.deepEqual(await polled, { messages: [{ seq: 1, text: 'later' }] });
  });

  test('answers a poll whose client has ended its direction', async () => {
    const session = await openPolled(port, 'echo');
    const socket = await connectTcp(port);
    socket.end(requestBytes('GET', session));
    const answer = readToEnd(socket);
    await post(port, session, 'later');
    assert.match((await answer).toString(), /"later"/);
  });

  test('accepts bytes and JSON lines', async () => {
    const session = await openPolled(port, 'echo');
    await post(port, session, Buffer.from([0, 1, 255]));
    const body = '{"text":"two"}\n{"binary":"AAEC"}\n{"binary":""}\n{"text":""}';
    const headers = { 'Content-Type': 'application/x-ndjson; charset=utf-8' };
    const { body: taken } = await ask(port, 'POST', `${session}?seq=2`, { headers, body });
    assert.equal(taken, '{"seq":5}\n');
    const { messages } = await pollOnce(port, session, 0);
    const [, ...rest] = messages;
    assert.deepEqual(messages[0], { seq: 1, binary: 'AAH/' });
    const waiting = rest.length === 4 ? rest : (await pollOnce(port, session, 1)).messages;
    assert.deepEqual(
      waiting.map(({ text, binary }) => text ?? Buffer.from(binary!, 'base64')),
      ['two', Buffer.from([0, 1, 2]), Buffer.alloc(0), ''],
    );
  });

  test('accepts a message once, however often it is sent, and refuses one out of order', async () => {
    const session = await openPolled(port, 'echo');
    assert.equal(await post(port, session, 'one', 1), 1);
    assert.equal(await post(port, session, 'one', 1), 1);
    const early = await ask(port, 'POST', `${session}?seq=3`, { body: 'three' });
    assert.deepEqual([early.status, early.body], [409, '{"seq":1}\n']);
    // The first of the two lines was accepted before.
    const headers = { 'Content-Type': 'application/x-ndjson' };
    const both = await ask(port, 'POST', `${session}?seq=1`, {
      headers,
      body: '{"text":"one"}\n{"text":"two"}\n',
    });
    assert.equal(both.body, '{"seq":2}\n');
    assert.equal(await post(port, session, 'three', 3), 3);
    await post(port, session, 'end');
    const texts: (string | undefined)[] = [];
    while (texts.at(-1) !== 'end')
      texts.push(...(await pollOnce(port, session, texts.length)).messages.map(({ text }) => text));
    assert.deepEqual(texts, ['one', 'two', 'three', 'end']);
  });

  test('has one poll at a time: the newest', async () => {
    const session = await openPolled(port, 'echo');
    const first = connectTcp(port);
    (await first).write(requestBytes('GET', session));
    const firstAnswer = first.then(readToEnd);
    const second = pollOnce(port, session, 0);
    // The later of the two still waits.
    const empty = await Promise.race([firstAnswer, second]);
    assert.deepEqual(Buffer.isBuffer(empty) ? JSON.parse(readAnswer(empty).body) : empty, { messages: [] });
    await post(port, session, 'for the newest');
    const answers = [JSON.parse(readAnswer(await firstAnswer).body), await second];
    assert.equal(answers.filter(({ messages }) => messages.length === 1).length, 1);
    (await first).destroy();
  });

  test('answers Accept: text/event-stream with an event stream, which resumes after a break', async () => {
    const session = await openPolled(port, 'echo');
    const first = await openStream(port, session);
    await first.until('retry: ');
    assert.match(first.text(), /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(first.text(), /\r\nContent-Type: text\/event-stream\r\n/);
    assert.match(first.text(), /\r\nX-Accel-Buffering: no\r\n/);
    assert.match(first.text(), /\r\nCache-Control: no-store\r\n/);
    assert.doesNotMatch(first.text(), /Content-Length/);
    await post(port, session, 'one');
    await post(port, session, 'two');
    await first.until('"two"}\n\n');
    const events = 'id: 1\ndata: {"seq":1,"text":"one"}\n\nid: 2\ndata: {"seq":2,"text":"two"}\n\n';
    assert.ok(first.text().endsWith(`\n\n${events}`), first.text());
    first.socket.destroy();
    await post(port, session, 'three');
    const second = await openStream(port, session, { 'Last-Event-ID': '1' });
    await second.until('three');
    assert.match(second.text(), /\n\nid: 2\ndata: .*\n\nid: 3\ndata: .*\n\n$/);
    assert.doesNotMatch(second.text(), /id: 1\n/);
    second.socket.destroy();
  });

  for (const name of ['Last-Event-ID', 'lastEventId', 'last_event_id']) {
    test(`resumes an event stream after the event that ${name} names`, async () => {
      const session = await openPolled(port, 'echo');
      for (const text of ['one', 'two', 'three']) await post(port, session, text);
      assert.equal((await pollMany(port, session, 3)).messages.length, 3);
      const isField = name.includes('-');
      const path = isField ? session : `${session}?${name}=2`;
      const stream = await openStream(port, path, isField ? { [name]: '2' } : {});
      await stream.until('"three"}\n\n');
      assert.doesNotMatch(stream.text(), /"one"|"two"/);
      stream.socket.destroy();
    });
  }

  test('resumes an event stream after the latest of the events in the header field and the query', async () => {
    const session = await openPolled(port, 'echo');
    for (const text of ['one', 'two', 'three']) await post(port, session, text);
    assert.equal((await pollMany(port, session, 3)).messages.length, 3);
    const stream = await openStream(port, `${session}?lastEventId=1`, { 'Last-Event-ID': '2' });
    await stream.until('"three"}\n\n');
    assert.doesNotMatch(stream.text(), /"two"/);
    stream.socket.destroy();
  });

  test('reads and ignores a small body that the request does not need', async () => {
    const json = { headers: { 'Content-Type': 'application/json' }, body: '{}' };
    const opened = await ask(port, 'POST', '/poll/echo', json);
    assert.equal(opened.status, 201, opened.body);
    const session = `/poll/s/${(JSON.parse(opened.body) as { session: string }).session}`;
    const chunked = { 'Transfer-Encoding': 'chunked' };
    const inChunks = requestBytes('POST', '/poll/echo', { headers: chunked });
    const answer = readAnswer(
      await exchange(port, Buffer.concat([inChunks, Buffer.from('2\r\n{}\r\n0\r\n\r\n')])),
    );
    assert.equal(answer.status, 201, answer.body);
    await post(port, session, 'hello');
    assert.match((await ask(port, 'GET', session, json)).body, /hello/);
    assert.equal((await ask(port, 'OPTIONS', session, json)).status, 204);
    const largest = { body: 'x'.repeat(maxIgnoredBody) };
    assert.equal((await ask(port, 'DELETE', session, largest)).status, 204);
    assert.equal((await ask(port, 'GET', session)).status, 404);
  });

  test('is ended at once by DELETE, and its poll is answered', async () => {
    const session = await openPolled(port, 'echo');
    const socket = await connectTcp(port);
    socket.write(requestBytes('GET', session));
    const answer = readToEnd(socket);
    assert.equal((await ask(port, 'DELETE', session)).status, 204);
    const { body, status } = readAnswer(await answer);
    // The poll may arrive after the DELETE.
    if (status === 200) assert.match(body, /^\{"messages":\[\],"closed":/);
    else assert.equal(status, 404);
    for (const method of ['GET', 'POST', 'DELETE'])
      assert.equal((await ask(port, method, session)).status, 404);
  });

  test('is not found by any wrong token', async () => {
    const session = await openPolled(port, 'echo');
    const gone = await openPolled(port, 'echo');
    await ask(port, 'DELETE', gone);
    const wrong = [
      gone,
      session.slice(0, -1),
      `${session}A`,
      '/poll/s/',
      '/poll/s/x',
      '/poll/s/%00',
      '/poll/s/a/b',
      `/poll/s/${'A'.repeat(32)}`,
    ];
    const answers = await Promise.all(
      wrong.flatMap(path => ['GET', 'POST'].map(method => ask(port, method, path))),
    );
    for (const { status, body } of answers)
      assert.deepEqual([status, body], [404, 'no such session; it may be over\n']);
    assert.equal((await ask(port, 'GET', `${session.toLowerCase()}x`)).status, 404);
  });

  const refused: [string, string, string, Record<string, string>, string | Buffer | undefined, number][] = [
    ['a session that is not opened by POST', 'GET', '/poll/echo', {}, undefined, 405],
    ['a session opened with a large body', 'POST', '/poll/echo', {}, 'x'.repeat(maxIgnoredBody + 1), 413],
    ['a poll with a large body', 'GET', '*', {}, 'x'.repeat(maxIgnoredBody + 1), 413],
    ['a wrong lastEventId', 'GET', '*?lastEventId=x', { Accept: 'text/event-stream' }, undefined, 400],
    ['another method', 'PUT', '*', {}, undefined, 405],
    ['an acknowledgement of a message that was not sent', 'GET', '*?ack=1', {}, undefined, 400],
    ['an acknowledgement that is not a number', 'GET', '*?ack=-1', {}, undefined, 400],
    ['a number of 0', 'POST', '*?seq=0', {}, 'x', 409],
    ['a malformed number', 'POST', '*?seq=1e3', {}, 'x', 400],
    ['a text that is not UTF-8', 'POST', '*', {}, Buffer.from([0xff]), 400],
    ['lines that are not JSON', 'POST', '*', { 'Content-Type': 'application/x-ndjson' }, 'x', 400],
    ['lines that are not messages', 'POST', '*', { 'Content-Type': 'application/x-ndjson' }, '{}', 400],
    [
      'a wrong Last-Event-ID',
      'GET',
      '*',
      { Accept: 'text/event-stream', 'Last-Event-ID': 'x' },
      undefined,
      400,
    ],
  ];
  for (const [what, method, path, headers, body, status] of refused) {
    test(`refuses ${what} with ${status}, and stays open`, async () => {
      const session = await openPolled(port, 'echo');
      const sending = body === undefined ? { headers } : { headers, body };
      assert.equal((await ask(port, method, path.replace('*', session), sending)).status, status);
      assert.equal(await post(port, session, 'still'), 1);
      assert.equal((await pollOnce(port, session, 0)).messages[0]?.text, 'still');
    });
  }

  test('keeps its token out of the log', async () => {
    const session = await openPolled(port, 'echo');
    await ask(port, 'GET', `${session}?ack=99`);
    await ask(port, 'DELETE', session);
    await ask(port, 'GET', session);
    const token = session.slice('/poll/s/'.length);
    await server.untilLogged(entry => entry['status'] === 404);
    assert.ok(!server.stderr().includes(token));
  });

  test('refuses an endless body at its head', async () => {
    const session = await openPolled(port, 'echo');
    const head = requestBytes('POST', session, { headers: { 'Content-Length': '999999999' } });
    assert.equal(readAnswer(await exchange(port, head)).status, 413);
  });
});

describe('pages of other origins', { timeout: 60_000 }, () => {
  const from = (origin: string) => ({ headers: { Origin: origin } });

  test('may connect without --origin, and get CORS fields', async t => {
    const { port } = await startServerFor(t);
    const { status, headers } = await ask(port, 'POST', '/poll/echo', from('https://a.example'));
    assert.equal(status, 201);
    assert.equal(headers.get('access-control-allow-origin'), 'https://a.example');
    assert.equal(headers.get('vary'), 'Origin');
    const origin = from('https://a.example');
    const missing = await ask(port, 'GET', '/poll/s/x', origin);
    const tooLong = await ask(port, 'POST', '/poll/echo', { ...origin, body: 'x'.repeat(100_000) });
    assert.deepEqual([missing.status, tooLong.status], [404, 413]);
    for (const refused of [missing, tooLong]) {
      assert.equal(refused.headers.get('access-control-allow-origin'), 'https://a.example', 'it can be read');
      assert.equal(refused.headers.get('access-control-allow-credentials'), 'true');
    }
    const program = await ask(port, 'POST', '/poll/echo');
    assert.ok(!program.headers.has('access-control-allow-credentials'), 'a program is not a page');
  });

  test('may not connect unless --origin lists them', async t => {
    const { port } = await startServerFor(t, '--origin', 'https://a.example');
    const session = await openPolled(port, 'echo', from('https://a.example'));
    for (const [method, path] of [
      ['POST', '/poll/echo'],
      ['GET', session],
      ['POST', session],
      ['DELETE', session],
      ['OPTIONS', session],
    ] as const) {
      const { status, headers } = await ask(port, method, path, from('https://b.example'));
      assert.equal(status, 403, method);
      assert.ok(!headers.has('access-control-allow-origin'));
      assert.ok(!headers.has('access-control-allow-credentials'));
    }
    assert.equal(await post(port, session, 'no browser'), 1, 'programs have no origin');
  });

  test('get the allowed methods and fields in a preflight', async t => {
    const { port } = await startServerFor(t, '--origin', 'https://a.example');
    const asked = {
      'Access-Control-Request-Method': 'DELETE',
      'Access-Control-Request-Headers': 'content-type',
    };
    const headers = { Origin: 'https://a.example', ...asked };
    const answer = await ask(port, 'OPTIONS', '/poll/s/x', { headers });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.get('access-control-allow-origin'), 'https://a.example');
    assert.match(answer.headers.get('access-control-allow-methods')!, /DELETE/);
    assert.equal(answer.headers.get('access-control-allow-credentials'), 'true');
    const allowed = answer.headers.get('access-control-allow-headers')!.toLowerCase().split(', ');
    for (const field of [
      'content-type',
      'last-event-id',
      'cache-control',
      'pragma',
      'x-requested-with',
      'authorization',
    ])
      assert.ok(allowed.includes(field), field);
  });
});
