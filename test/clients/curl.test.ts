/** Plain HTTP on the same port, as curl shows it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type ServerProcess, startServer } from '../support/serverProcess.ts';

const run = promisify(execFile);

interface Response {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

describe('curl against the server', { timeout: 60_000 }, () => {
  let server: ServerProcess;
  before(async () => {
    server = await startServer();
  });
  after(async () => {
    assert.equal(await server.stop(), 0);
  });

  async function curl(path: string, ...options: string[]): Promise<Response> {
    const url = `http://127.0.0.1:${server.port}${path}`;
    // Without a proxy, whatever the environment says.
    const { stdout } = await run('curl', [
      '--silent',
      '--show-error',
      '--noproxy',
      '*',
      '-i',
      ...options,
      url,
    ]);
    const end = stdout.indexOf('\r\n\r\n');
    const [statusLine = '', ...fields] = stdout.slice(0, end).split('\r\n');
    assert.match(statusLine, /^HTTP\/1\.1 \d{3} /);
    return {
      status: Number(statusLine.split(' ')[1]),
      headers: new Map(
        fields.map(field => [field.split(':', 1)[0]!.toLowerCase(), field.replace(/^[^:]*: */, '')]),
      ),
      body: stdout.slice(end + 4),
    };
  }

  test('GET / is a page that may only connect to where it came from', async () => {
    const { status, headers, body } = await curl('/');
    assert.equal(status, 200);
    assert.equal(headers.get('content-type'), 'text/html; charset=utf-8');
    assert.equal(headers.get('content-length'), String(Buffer.byteLength(body)));
    assert.match(headers.get('content-security-policy')!, /default-src 'none'.*connect-src 'self'/);
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.match(body, /^<!doctype html>/i);
    assert.match(body, /Pollywog/);
  });

  test('HEAD / has the headers of GET / and no body', async () => {
    const whole = await curl('/');
    const { status, headers, body } = await curl('/', '--head');
    assert.equal(status, 200);
    assert.equal(body, '');
    assert.equal(headers.get('content-length'), whole.headers.get('content-length'));
  });

  test('GET /healthz is ok', async () => {
    const { status, headers, body } = await curl('/healthz');
    assert.deepEqual([status, body], [200, 'ok\n']);
    assert.equal(headers.get('content-type'), 'text/plain; charset=utf-8');
  });

  const sentence = /^\S.*\S\n$/;

  test('a page that is not there is 404, with a sentence', async () => {
    const { status, body } = await curl('/nowhere');
    assert.equal(status, 404);
    assert.match(body, sentence);
    assert.match(body, /no such page/);
  });

  test('POST and DELETE are 405, with what is allowed', async () => {
    for (const options of [
      ['-X', 'DELETE'],
      ['--data', 'x=1'],
    ]) {
      const { status, headers, body } = await curl('/', ...options);
      assert.equal(status, 405);
      assert.equal(headers.get('allow'), 'GET, HEAD, OPTIONS');
      assert.match(body, sentence);
    }
  });

  test('a WebSocket endpoint asked for as a page is 426, and says what to do', async () => {
    for (const path of ['/echo', '/broadcast', '/echo/below?query=1']) {
      const { status, headers, body } = await curl(path);
      assert.equal(status, 426, path);
      assert.equal(headers.get('upgrade'), 'websocket');
      assert.match(headers.get('connection')!, /upgrade/i);
      assert.match(body, /WebSocket endpoint.*ws:\/\//);
    }
  });

  const handshake = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
  const asHeaders = (fields: string[]) => fields.flatMap(field => ['--header', field]);

  test('a handshake without a key is 400, and says so', async () => {
    const { status, body } = await curl('/echo', ...asHeaders(handshake));
    assert.equal(status, 400);
    assert.match(body, /Sec-WebSocket-Key/);
  });

  test('a handshake of another version is 426, with the version that is spoken', async () => {
    const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
    const { status, headers } = await curl(
      '/echo',
      ...asHeaders([...handshake.slice(0, 2), 'Sec-WebSocket-Version: 8', key]),
    );
    assert.equal(status, 426);
    assert.equal(headers.get('sec-websocket-version'), '13');
  });

  test('a request head larger than 16 KiB is 431', async () => {
    const { status, body } = await curl('/', '--header', `X-Long: ${'x'.repeat(20_000)}`);
    assert.equal(status, 431);
    assert.match(body, sentence);
  });

  test('curl fetches several pages, refusals among them, over one connection', async () => {
    const paths = ['/', '/healthz', '/nowhere', '/echo'];
    const urls = paths.map(path => `http://127.0.0.1:${server.port}${path}`);
    const { stderr } = await run('curl', ['--noproxy', '*', '--verbose', '--silent', ...urls]);
    assert.equal(stderr.match(/Re-using existing (?:connection|host)/gi)?.length, 3, stderr);
  });

  test('an answer to a client that asks for it ends the connection, and says so', async () => {
    for (const path of ['/', '/healthz', '/nowhere', '/echo']) {
      const { headers } = await curl(path, '--header', 'Connection: close');
      assert.match(headers.get('connection')!, /close/i, path);
    }
  });
});
