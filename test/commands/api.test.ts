/** Commands over HTTP, and requests that are refused. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { decodeFormText } from '../../src/commands/api.ts';
import { maxCommandBody } from '../../src/protocol/limits.ts';
import { type OpenServer, openServer, secret } from '../support/commandWays.ts';
import { connectRaw, connectTcp, exchange } from '../support/rawClient.ts';
import { startServerFor } from '../support/serverProcess.ts';
import { temporaryFolder } from '../support/temporaryFolder.ts';

const authorized = `Authorization: Bearer ${secret}\r\n`;
const json = 'Content-Type: application/json\r\n';
const form = 'Content-Type: application/x-www-form-urlencoded\r\n';

function post(path: string, fields: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${fields}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

const status = (response: Buffer) => Number(response.toString('latin1').split(' ', 2)[1]);
const content = (response: Buffer) => response.toString().split('\r\n\r\n').slice(1).join('\r\n\r\n');

/** The broadcasts so far: a last one marks the end. */
async function heardUpTo(
  server: OpenServer,
  listener: Awaited<ReturnType<typeof connectRaw>>,
): Promise<string[]> {
  await exchange(server.port, post('/api/broadcast', authorized + json, '{"text": "last"}'));
  const heard: string[] = [];
  for (;;) {
    const said = (await listener.nextFrame())?.payload.toString();
    assert.ok(said !== undefined);
    if (said === 'last') return heard;
    heard.push(said);
  }
}

describe('a request without the right token', () => {
  const wrong: Readonly<Record<string, string>> = {
    'no field': '',
    'another token': 'Authorization: Bearer correct-horse.battery~staple_0123456780\r\n',
    'a part of it': `Authorization: Bearer ${secret.slice(0, -1)}\r\n`,
    'more than it': `Authorization: Bearer ${secret}0\r\n`,
    'none behind the scheme': 'Authorization: Bearer\r\n',
    'spaces behind the scheme': 'Authorization: Bearer   \r\n',
    'two of them': `${authorized}${authorized}`,
    'a space in it': `Authorization: Bearer ${secret.slice(0, 5)} ${secret.slice(5)}\r\n`,
    'another scheme': `Authorization: Basic ${Buffer.from(`x:${secret}`).toString('base64')}\r\n`,
    'no scheme': `Authorization: ${secret}\r\n`,
    'in a cookie': `Cookie: token=${secret}; Authorization=Bearer ${secret}\r\n`,
    'what is no token': 'Authorization: Bearer \u00e4\u00f6\u00fc"{}\r\n',
    'a very long one': `Authorization: Bearer ${'a'.repeat(10_000)}\r\n`,
  };
  const isGuess = /^Authorization: Bearer +[\w.~+/-]+=*\r\n$/i;
  for (const [name, fields] of Object.entries(wrong)) {
    test(`${name} gets 401 for every request, and nothing is done`, async t => {
      // Each request has an address of its own, as many wrong tokens from one make it wait.
      const server = await openServer(t, '--trust-proxy', '127.0.0.1');
      const listener = await connectRaw(server.port);
      const answers = new Set<string>();
      let address = 0;
      const its = () => `X-Forwarded-For: 198.51.100.${++address}\r\n${fields}`;
      for (const path of [
        '/api/broadcast',
        '/api/stop',
        '/api/nonsense',
        '/api',
        '/api/',
        '/api/list?text=x',
        '/api//list',
      ]) {
        for (const body of ['{"text": "in"}', '', '{', '\0']) {
          answers.add((await exchange(server.port, post(path, its() + json, body))).toString());
        }
        for (const method of ['GET', 'OPTIONS', 'PUT', 'DELETE']) {
          const request = `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${its()}\r\n`;
          answers.add((await exchange(server.port, request)).toString());
        }
      }
      assert.equal(answers.size, 1, [...answers].join('\n'));
      const [answer = ''] = answers;
      assert.match(answer, /^HTTP\/1\.1 401 Unauthorized\r\n/);
      if (isGuess.test(fields)) {
        assert.match(answer, /\r\nWWW-Authenticate: Bearer realm="pollywog", error="invalid_token"\r\n/);
        assert.match(answer, /wrong token; use the one in the file that --api-token names/);
      } else {
        assert.match(answer, /\r\nWWW-Authenticate: Bearer realm="pollywog"\r\n/);
        assert.match(answer, /a token is needed; send the header field/);
      }
      assert.doesNotMatch(answer, /access-control/i);
      assert.deepEqual(await heardUpTo(server, listener), []);
      assert.ok(!server.stderr().includes(secret), 'the log has no secrets');
      listener.destroy();
    });
  }

  test('is refused at its head, before any body is read', async t => {
    const server = await openServer(t);
    const head = 'POST /api/broadcast HTTP/1.1\r\nHost: x\r\nConnection: close\r\n';
    for (const rest of [
      'Content-Length: 1000000000\r\n\r\n',
      'Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n',
      'Transfer-Encoding: chunked\r\n\r\n',
      'Transfer-Encoding: chunked\r\n\r\nffffff\r\nxxx',
      `Content-Length: 1000000000\r\n\r\n${'x'.repeat(100_000)}`,
    ]) {
      // `exchange` never sends more: the answer does not wait for it.
      assert.equal(status(await exchange(server.port, head + rest)), 401);
    }
  });

  test('gets 404 if the server has no token', async t => {
    const server = await startServerFor(t);
    for (const [method, body] of [
      ['POST', '{}'],
      ['GET', ''],
      ['OPTIONS', ''],
    ] as const) {
      const ask = async (path: string) => {
        const head = `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${secret}\r\n`;
        return (
          await exchange(server.port, `${head}Content-Length: ${body.length}\r\n\r\n${body}`)
        ).toString();
      };
      const missing = await ask('/nonsense');
      for (const path of ['/api', '/api/', '/api/list', '/api/stop']) assert.equal(await ask(path), missing);
    }
  });
});

describe('a request with the token', () => {
  test('may write the scheme in any case, with spaces around the token', async t => {
    const server = await openServer(t);
    for (const field of [`bearer ${secret}`, `BEARER ${secret}`, `Bearer    ${secret}  `]) {
      const fields = `authorization: ${field}\r\n`;
      assert.equal(status(await exchange(server.port, post('/api/list', fields, ''))), 200, field);
    }
  });

  const refused: [string, string, number, RegExp][] = [
    ['no command', post('/api/nonsense', authorized, ''), 404, /unknown command "nonsense"/],
    ['two of them', post('/api/list/list', authorized, ''), 404, /unknown command/],
    ['a name that objects have', post('/api/__proto__', authorized, ''), 404, /unknown command/],
    ['GET', `GET /api/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${authorized}\r\n`, 405, /with POST/],
    ['POST to the description', post('/api', authorized, ''), 405, /with GET/],
    ['a body of no type', post('/api/broadcast', authorized, '{"text": "in"}'), 415, /application\/json/],
    [
      'text',
      post('/api/broadcast', `${authorized}Content-Type: text/plain\r\n`, '{"text": "in"}'),
      415,
      /json/,
    ],
    [
      'a form with files',
      post('/api/broadcast', `${authorized}Content-Type: multipart/form-data; boundary=x\r\n`, '--x--'),
      415,
      /json/,
    ],
    ['JSON cut off', post('/api/broadcast', authorized + json, '{"text": "in'), 400, /not a JSON object/],
    ['a list', post('/api/broadcast', authorized + json, '["in"]'), 400, /not a JSON object/],
    ['null', post('/api/broadcast', authorized + json, 'null'), 400, /not a JSON object/],
    ['a name twice', post('/api/broadcast', authorized + json, '{"text": "a", "text": "b"}'), 400, /twice/],
    ['too deep', post('/api/broadcast', authorized + json, '{"a":'.repeat(100_000)), 400, /deep/],
    [
      '__proto__',
      post('/api/broadcast', authorized + json, '{"text":"in","__proto__":{}}'),
      400,
      /__proto__/,
    ],
    [
      'a number for the text',
      post('/api/broadcast', authorized + json, '{"text": 1}'),
      400,
      /must be a text/,
    ],
    [
      'a huge id',
      post('/api/send', authorized + json, '{"to": 1e308, "text": "in"}'),
      400,
      /must be a connection id/,
    ],
    [
      'a negative id',
      post('/api/send', authorized + json, '{"to": -1, "text": "in"}'),
      400,
      /must be a connection id/,
    ],
    [
      'one that is not there',
      post('/api/send', authorized + json, '{"to": 999999999, "text": "in"}'),
      404,
      /no connection/,
    ],
    ['the listener', post('/api/disconnect', authorized + json, '{"id": 0}'), 404, /no connection/],
    ['the control listener', post('/api/disconnect', authorized + json, '{"id": 1}'), 404, /no connection/],
    [
      'too long',
      `POST /api/broadcast HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${authorized}Content-Length: ${maxCommandBody + 1}\r\n\r\n`,
      413,
      /longer than/,
    ],
    [
      'too long in chunks',
      `POST /api/broadcast HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${authorized}Transfer-Encoding: chunked\r\n\r\n200000\r\n`,
      413,
      /longer than/,
    ],
    [
      'a form that has a name twice',
      post(
        '/api/broadcast',
        `${authorized}Content-Type: application/x-www-form-urlencoded\r\n`,
        'text=a&text=b',
      ),
      400,
      /twice/,
    ],
    [
      'a form that is not UTF-8',
      post('/api/broadcast', `${authorized}${form}`, 'text=caf%E9'),
      400,
      /"text" in the form is not UTF-8: byte 0xe9 at offset 3/,
    ],
    [
      'a form with a name that is not UTF-8',
      post('/api/list', `${authorized}${form}`, '%ff='),
      400,
      /not UTF-8/,
    ],
    [
      'a form with a list where one text is wanted',
      post('/api/broadcast', `${authorized}${form}`, 'text[]=a'),
      400,
      /has no parameter/,
    ],
    [
      'an unpaired surrogate',
      post('/api/broadcast', authorized + json, '{"text": "\\ud83d"}'),
      400,
      /text contains an unpaired surrogate/,
    ],
    [
      'an unpaired surrogate in a list',
      post('/api/call', authorized + json, '{"name": "x", "arguments": ["a", "\\udc38"]}'),
      400,
      /arguments contains an unpaired surrogate/,
    ],
    [
      'a form of very many values',
      post(
        '/api/broadcast',
        `${authorized}Content-Type: application/x-www-form-urlencoded\r\n`,
        Array.from({ length: 100_000 }, (_, index) => `n${index}`).join('&'),
      ),
      400,
      /at most 100 values/,
    ],
  ];
  // Two readers could disagree where these end (RFC 9112 §6).
  const unreadable: typeof refused = [
    [
      'two lengths',
      post('/api/broadcast', `${authorized}${json}Content-Length: 3\r\n`, '{"text": "in"}'),
      400,
      /./,
    ],
    [
      'a length and chunks',
      post('/api/broadcast', `${authorized}${json}Transfer-Encoding: chunked\r\n`, '0\r\n\r\n'),
      400,
      /./,
    ],
    [
      'chunks, and then gzip',
      post('/api/list', `${authorized}Transfer-Encoding: chunked, gzip\r\n`, '').replace(
        /Content-Length.*\r\n/,
        '',
      ),
      501,
      /./,
    ],
    ['a length with a sign', post('/api/list', authorized, '').replace('Length: 0', 'Length: +0'), 400, /./],
    ['a space before the colon', post('/api/list', authorized, '').replace('Length:', 'Length :'), 400, /./],
    ['a folded line', post('/api/list', `${authorized}X: a\r\n b\r\n`, ''), 400, /./],
  ];
  test('may repeat a name in a form to send a list, as browsers and PHP do', async t => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'words.mjs'), 'export default { message() {}, command: words => words };\n');
    const server = await openServer(t, '--handlers', folder);
    for (const [body, words] of [
      ['name=words', []],
      ['name=words&arguments=', ['']],
      ['name=words&arguments=one+two', ['one two']],
      ['name=words&arguments=one&arguments=two', ['one', 'two']],
      ['arguments[]=one&name=words&arguments[]=two', ['one', 'two']],
      // As http_build_query(['name' => 'words', 'arguments' => ['one', 'two']]) writes it.
      ['name=words&arguments%5B0%5D=one&arguments%5B1%5D=t%C3%BC+%26', ['one', 't\u00fc &']],
      // A percent sign that escapes nothing stands for itself, as in a browser.
      ['name=words&arguments=100%&&arguments=%zz%E', ['100%', '%zz%E']],
    ] as const) {
      const response = await exchange(server.port, post('/api/call', `${authorized}${form}`, body));
      assert.deepEqual([status(response), JSON.parse(content(response))], [200, words], body);
    }
  });

  test('may begin its body with a byte order mark', async t => {
    const server = await openServer(t);
    const listener = await connectRaw(server.port);
    for (const [type, body] of [
      [json, '\ufeff{"text": "in"}'],
      [form, '\ufefftext=in'],
    ] as const) {
      assert.equal(status(await exchange(server.port, post('/api/broadcast', authorized + type, body))), 200);
      assert.equal((await listener.nextFrame())?.payload.toString(), 'in');
    }
    const latin1 = Buffer.concat([
      Buffer.from(
        `POST /api/broadcast HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${authorized}${json}Content-Length: 1\r\n\r\n`,
      ),
      Buffer.from([0xff]),
    ]);
    const refusal = await exchange(server.port, latin1);
    assert.equal(status(refusal), 400);
    assert.match(content(refusal), /the body is not UTF-8: byte 0xff at offset 0/);
    listener.destroy();
  });

  test('that is wrong is refused with a sentence, and nothing is done', async t => {
    const server = await openServer(t);
    const listener = await connectRaw(server.port);
    for (const [name, request, code, sentence] of [...refused, ...unreadable]) {
      const response = await exchange(server.port, request);
      assert.equal(status(response), code, `${name}: ${response}`);
      assert.match(content(response).replaceAll('\\"', '"'), sentence, name);
      assert.doesNotMatch(content(response), /at .*:\d+:\d+/, name);
    }
    // Accept is in the head; a head that cannot be parsed gets plain text.
    for (const [name, request, code] of refused) {
      const asJson = await exchange(server.port, request);
      assert.equal(typeof JSON.parse(content(asJson)).error, 'string', name);
      const asText = await exchange(server.port, request.replace('\r\n', '\r\nAccept: text/plain\r\n'));
      assert.equal(status(asText), code, name);
      assert.match(content(asText), /^[^{].*\n$/, name);
    }
    const invalid = Buffer.concat([
      Buffer.from(
        `POST /api/broadcast HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${authorized}${json}Content-Length: 14\r\n\r\n`,
      ),
      Buffer.from('{"text": "\xff\xfe"}', 'latin1'),
    ]);
    assert.equal(status(await exchange(server.port, invalid)), 400);
    assert.deepEqual(await heardUpTo(server, listener), []);
    listener.destroy();
  });

  test('ends with its body: bytes after it are ignored', async t => {
    const server = await openServer(t);
    const listener = await connectRaw(server.port);
    const one = post('/api/broadcast', authorized + json, '{"text": "once"}');
    for (const more of [
      one,
      '\r\n\r\n',
      '\0\0\0',
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
      'x'.repeat(100_000),
    ]) {
      const answer = (await exchange(server.port, one + more)).toString();
      assert.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1, answer);
      assert.equal(status(Buffer.from(answer)), 200);
    }
    assert.deepEqual(await heardUpTo(server, listener), ['once', 'once', 'once', 'once', 'once']);
    listener.destroy();
  });

  test('gets the same response wherever its bytes are cut', async t => {
    const server = await openServer(t);
    const listener = await connectRaw(server.port);
    const chunks = '7\r\n{"text"\r\n6;x=y\r\n: "h\u00e9\r\n3\r\ny"}\r\n0\r\nX: y\r\n\r\n';
    const inChunks = `POST /api/broadcast HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${authorized}${json}Transfer-Encoding: chunked\r\n\r\n${chunks}`;
    for (const request of [post('/api/broadcast', authorized + json, '{"text": "h\u00e9y"}'), inChunks]) {
      const bytes = Buffer.from(request);
      const cuts = Array.from({ length: bytes.length - 1 }, (_, index) => index + 1);
      const answers = await Promise.all(
        cuts.map(async cut => {
          const socket = await connectTcp(server.port);
          socket.write(bytes.subarray(0, cut));
          // The server has read it when it has answered someone who asked after it.
          await exchange(server.port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
          socket.end(bytes.subarray(cut));
          const answer: Buffer[] = [];
          for await (const piece of socket) answer.push(piece as Buffer);
          return content(Buffer.concat(answer));
        }),
      );
      assert.deepEqual([...new Set(answers)], ['{"sent":1}\n']);
      assert.deepEqual(
        await heardUpTo(server, listener),
        cuts.map(() => 'h\u00e9y'),
      );
    }
    listener.destroy();
  });

  test('times out if its body does not come, and does nothing if the body was cut off', async t => {
    const server = await openServer(t, '--handshake-timeout', '500ms');
    const listener = await connectRaw(server.port);
    const cut = post('/api/broadcast', authorized + json, '{"text": "in"}').slice(0, -2);
    assert.equal(status(await exchange(server.port, cut)), 408);
    const socket = await connectTcp(server.port);
    socket.end(cut);
    await once(socket.resume(), 'end');
    socket.destroy();
    assert.deepEqual(await heardUpTo(server, listener), []);
    listener.destroy();
  });

  test('may ask for 100 Continue; HTTP/1.0 gets no chunks, and HEAD no content', async t => {
    const server = await openServer(t);
    const socket = await connectTcp(server.port);
    socket.write(
      `POST /api/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${authorized}${json}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n`,
    );
    const [first] = await once(socket, 'data');
    assert.equal(String(first), 'HTTP/1.1 100 Continue\r\n\r\n');
    socket.end('{}');
    assert.equal(status((await once(socket, 'data'))[0]), 200);
    socket.destroy();

    // Longer than what is sent in one piece.
    const long = 'x'.repeat(60_000);
    for (let i = 0; i < 2; i++)
      await exchange(
        server.port,
        post('/api/publish', authorized + json, JSON.stringify({ room: 'pond', text: long })),
      );
    const body = '{"room": "pond"}';
    const fields = `${authorized}${json}Content-Length: ${body.length}\r\n\r\n${body}`;
    const said = `[{"text":"${long}"},\n{"text":"${long}"}]\n`;
    const flattenString = await exchange(server.port, `POST /api/history HTTP/1.0\r\n${fields}`);
    assert.equal(content(flattenString).replace(/"id":"[^"]*","time":"[^"]*",/g, ''), said);
    assert.doesNotMatch(flattenString.toString('latin1', 0, 1000), /chunked/);
    const inChunks = await exchange(
      server.port,
      `POST /api/history HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${fields}`,
    );
    assert.match(inChunks.toString(), /\r\nTransfer-Encoding: chunked\r\n.*\r\n0\r\n\r\n$/s);
    const old = await exchange(
      server.port,
      `POST /api/list HTTP/1.0\r\n${authorized}Content-Length: 0\r\n\r\n`,
    );
    assert.equal(status(old), 200);
    assert.doesNotMatch(old.toString(), /chunked/);
    const head = await exchange(
      server.port,
      `HEAD /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${authorized}\r\n`,
    );
    assert.match(head.toString(), /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n$/s);
  });

  test('GET /api describes the commands', async t => {
    const server = await openServer(t);
    const headers = { Authorization: `Bearer ${secret}` };
    const response = await fetch(`http://127.0.0.1:${server.port}/api`, { headers });
    const { openapi, paths } = (await response.json()) as { openapi: string; paths: object };
    assert.equal(openapi, '3.1.0');
    assert.ok(Object.keys(paths).includes('/api/broadcast'));
  });
});

test('a form is decoded once, and a percent sign without two digits stands for itself', () => {
  assert.equal(decodeFormText('x', 'a+b%20c%2B%2b%c3%BC%2541'), 'a b c++ü%41');
  assert.equal(decodeFormText('x', '100%+%4 %g1%1g%'), '100% %4 %g1%1g%');
  assert.throws(() => decodeFormText('x', '%ff'), /x in the form is not UTF-8: byte 0xff at offset 0/);
});
