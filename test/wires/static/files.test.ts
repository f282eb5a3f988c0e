/** Which file of a site answers a request, and in which form. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { maxErrorPage } from '../../../src/protocol/limits.ts';
import { httpDate } from '../../../src/wires/static/conditions.ts';
import { connectTerminal } from '../../support/lineClient.ts';
import { skipUnlessLinux } from '../../support/linux.ts';
import { ask } from '../../support/pollClient.ts';
import { openFilesBelow } from '../../support/processState.ts';
import { serverScript, startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

async function startSite(
  t: TestContext,
  files: Readonly<Record<string, string | Buffer>>,
  ...options: string[]
): Promise<number> {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
    utimesSync(join(folder, name), 1_000_000_000.75, 1_000_000_000.75);
  }
  const { port } = await startServerFor(t, '--static', folder, ...options);
  return port;
}

test('the path of a folder leads to its index.html, and without the slash to a redirect that keeps the query', async t => {
  const port = await startSite(t, {
    'index.html': 'front',
    'docs/index.html': 'docs',
    'empty/x.txt': '',
    'a:b/index.html': '',
  });
  assert.equal((await ask(port, 'GET', '/')).body, 'front');
  assert.equal((await ask(port, 'GET', '/docs/')).body, 'docs');
  for (const [path, location] of [
    ['/docs', './docs/'],
    ['/docs?x=%20', './docs/?x=%20'],
    ['/a:b', './a%3Ab/'],
  ] as const) {
    const { status, headers } = await ask(port, 'GET', path);
    assert.deepEqual([status, headers.get('location')], [301, location], path);
  }
  assert.equal((await ask(port, 'GET', '/empty/')).status, 404);
  assert.equal((await ask(port, 'GET', '/empty')).status, 301);
});

test('the extension of a file decides its type, and browsers are told not to guess', async t => {
  const types = {
    'a.html': 'text/html; charset=utf-8',
    'a.css': 'text/css; charset=utf-8',
    'a.JS': 'text/javascript; charset=utf-8',
    'a.mjs': 'text/javascript; charset=utf-8',
    'a.json': 'application/json',
    'a.svg': 'image/svg+xml',
    'a.png': 'image/png',
    'a.woff2': 'font/woff2',
    'a.wasm': 'application/wasm',
    'a.webmanifest': 'application/manifest+json',
    'a.mp4': 'video/mp4',
    'a.tar.gz': 'application/gzip',
    'a.constructor': 'application/octet-stream',
    LICENSE: 'application/octet-stream',
  };
  const port = await startSite(t, Object.fromEntries(Object.keys(types).map(name => [name, 'x'])));
  for (const [name, type] of Object.entries(types)) {
    const { headers } = await ask(port, 'GET', `/${name}`);
    assert.equal(headers.get('content-type'), type, name);
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
  }
});

test('the answer 404 has the page 404.html of the site, if there is one of at most 256 KiB, or a plain sentence', async t => {
  const port = await startSite(t, { '404.html': '<h1>lost</h1>' });
  for (const path of ['/nothing', '/docs/nothing.html', '/.env', '/']) {
    const { status, headers, body } = await ask(port, 'GET', path);
    assert.deepEqual([status, body], [404, '<h1>lost</h1>'], path);
    assert.equal(headers.get('content-type'), 'text/html; charset=utf-8');
  }
  const head = await ask(port, 'HEAD', '/nothing');
  assert.deepEqual([head.status, head.headers.get('content-length'), head.body], [404, '13', '']);
  const plain = await startSite(t, { 'a.txt': '' });
  assert.equal((await ask(plain, 'GET', '/nothing')).body, 'no such page\n');
  for (const [size, length] of [
    [maxErrorPage, maxErrorPage],
    [maxErrorPage + 1, 'no such page\n'.length],
  ] as const) {
    const large = await startSite(t, { '404.html': Buffer.alloc(size, 'x') });
    assert.equal((await ask(large, 'GET', '/nothing')).body.length, length);
  }
});

test('--static-fallback answers every path of the app, except for a missing script or image', async t => {
  const port = await startSite(t, { 'index.html': 'app', 'a.txt': 'a' }, '--static-fallback', 'index.html');
  for (const path of ['/', '/orders/17', '/users/john.doe', '/orders/', '/old.html']) {
    const { status, body, headers } = await ask(port, 'GET', path);
    assert.deepEqual(
      [status, body, headers.get('content-type')],
      [200, 'app', 'text/html; charset=utf-8'],
      path,
    );
  }
  assert.equal((await ask(port, 'GET', '/a.txt')).body, 'a');
  for (const path of ['/app.0f3c.js', '/logo.png'])
    assert.equal((await ask(port, 'GET', path)).status, 404, path);
  // A browser that opens a page accepts HTML.
  const headers = { Accept: 'text/html,*/*;q=0.8' };
  assert.equal((await ask(port, 'GET', '/v1.2/readme.md', { headers })).body, 'app');
});

test('HEAD has the fields of GET and no content; other methods get 405', async t => {
  const port = await startSite(t, { 'a.txt': 'twelve bytes', 'large.bin': Buffer.alloc(300_000) });
  for (const [path, size] of [
    ['/a.txt', '12'],
    ['/large.bin', '300000'],
  ] as const) {
    const [head, get] = [await ask(port, 'HEAD', path), await ask(port, 'GET', path)];
    assert.deepEqual([head.status, head.body, head.headers.get('content-length')], [200, '', size]);
    for (const [name, value] of get.headers) if (name !== 'date') assert.equal(head.headers.get(name), value);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    const { status, headers } = await ask(port, method, '/a.txt', { body: 'x' });
    assert.deepEqual([status, headers.get('allow')], [405, 'GET, HEAD, OPTIONS'], method);
  }
  const options = await ask(port, 'OPTIONS', '/a.txt');
  assert.deepEqual([options.status, options.headers.get('allow')], [204, 'GET, HEAD, OPTIONS']);
});

test('a client that accepts it gets the compressed file, whose tag and length differ from those of the original', async t => {
  const text = 'hello '.repeat(100);
  const port = await startSite(t, {
    ...{ 'a.js': text, 'a.js.br': brotliCompressSync(text), 'a.js.gz': gzipSync(text) },
    ...{
      'b.js': text,
      'b.js.gz': gzipSync(text),
      'c.png': text,
      'c.png.gz': gzipSync(text),
      'd.js.gz': 'alone',
    },
  });
  const tags = new Set<string | undefined>();
  for (const [path, accepted, coding] of [
    ['/a.js', 'gzip, deflate, br', 'br'],
    ['/a.js', 'br;q=0.5, gzip;q=0.8', 'gzip'],
    ['/a.js', 'br;q=0, gzip', 'gzip'],
    ['/a.js', 'BR', 'br'],
    ['/a.js', '*', 'br'],
    ['/a.js', '*;q=0', undefined],
    ['/a.js', 'identity', undefined],
    ['/a.js', 'brotli, gzipped', undefined],
    ['/b.js', 'br, gzip', 'gzip'],
    ['/b.js', 'br', undefined],
    ['/c.png', 'gzip', undefined],
  ] as const) {
    const { status, headers } = await ask(port, 'HEAD', path, { headers: { 'Accept-Encoding': accepted } });
    assert.deepEqual([status, headers.get('content-encoding')], [200, coding], `${path} ${accepted}`);
    assert.equal(headers.get('vary'), path === '/c.png' ? undefined : 'Accept-Encoding');
    if (path === '/a.js') {
      assert.equal(headers.get('content-type'), 'text/javascript; charset=utf-8');
      tags.add(headers.get('etag'));
    }
  }
  assert.equal(tags.size, 3);
  // fetch decompresses the file.
  for (const path of ['a.js', 'b.js'])
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/${path}`)).text(), text);
  assert.equal((await ask(port, 'GET', '/d.js', { headers: { 'Accept-Encoding': 'gzip' } })).status, 404);
});

test('routes, handlers and pages of the server win over files, and the chat is at /chat', async t => {
  const namesOfOff = ['inspect/a.txt', 'replay/a.txt', 'faulty/a.txt', 'script/a.txt'];
  const names = [
    'index.html',
    'healthz',
    'echo/index.html',
    'pollywog.js',
    'chat',
    'channels/a.txt',
    'poll/a.txt',
    'api/list',
    ...namesOfOff,
  ];
  const port = await startSite(t, {
    ...Object.fromEntries(names.map(name => [name, 'the site'])),
    'chat.css': 'mine',
  });
  assert.equal((await ask(port, 'GET', '/')).body, 'the site');
  assert.equal((await ask(port, 'GET', '/chat.css')).body, 'mine');
  // These handlers are off.
  for (const name of namesOfOff) assert.equal((await ask(port, 'GET', `/${name}`)).body, 'the site', name);
  for (const name of [
    '/healthz',
    '/echo/',
    '/pollywog.js',
    '/chat',
    '/channels/a.txt?last=0',
    '/poll/a.txt',
    '/api/list',
  ])
    assert.doesNotMatch((await ask(port, 'GET', name)).body, /the site/, name);
  assert.match((await ask(port, 'GET', '/chat')).body, /<title>/);
  assert.equal((await ask(port, 'GET', '/chat/chat.js')).status, 200);
  (await connectTerminal(port, 'newt')).socket.destroy();
});

test('a folder that does not exist, and a file in its place, are errors at the start', () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'file'), '');
  for (const [path, why] of [
    [join(folder, 'nothing'), 'does not exist'],
    [join(folder, 'file'), 'is not a folder'],
  ] as const) {
    const words = [serverScript, '-p', '0', '--control', 'none', '--static', path];
    const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
    assert.equal(status, 2);
    assert.match(stderr, new RegExp(why));
  }
});

test('a folder that the server’s user may not enter is an error at the start', t => {
  const folder = temporaryFolder();
  const closed = join(folder, 'closed');
  mkdirSync(closed, { mode: 0o700 });
  chmodSync(folder, 0o755);
  const isRoot = process.getuid?.() === 0;
  // Every folder is open to root.
  const nobody = isRoot ? { uid: 65_534, gid: 65_534 } : {};
  if (!isRoot) chmodSync(closed, 0);
  const run = (...words: string[]) =>
    spawnSync(process.execPath, words, { ...nobody, cwd: folder, encoding: 'utf8', timeout: 60_000 });
  if (run(serverScript, '--version').status !== 0) return t.skip('nobody may not read the program');
  const { status, stderr } = run(serverScript, '-p', '0', '--control', 'none', '--static', closed);
  assert.equal(status, 2);
  assert.match(stderr, /^pollywog: the folder of --static, ".*closed", is closed to this user\n$/);
});

test('a compressed file has another tag than an original of the same size and time', async t => {
  const port = await startSite(t, { 'a.js': 'original', 'a.js.gz': 'squeezed' });
  const tags = await Promise.all(
    ['identity', 'gzip'].map(async coding => {
      const answer = await ask(port, 'GET', '/a.js', { headers: { 'Accept-Encoding': coding } });
      return answer.headers.get('etag');
    }),
  );
  assert.notEqual(tags[0], tags[1]);
});

test('Last-Modified of a file from the future is not later than Date', async t => {
  const folder = temporaryFolder();
  const { port } = await startServerFor(t, '--static', folder);
  writeFileSync(join(folder, 'a.txt'), '');
  utimesSync(join(folder, 'a.txt'), 4e9, 4e9);
  const { headers } = await ask(port, 'GET', '/a.txt');
  assert.ok(httpDate(headers.get('last-modified'))! <= httpDate(headers.get('date'))!);
});

test('a fallback that does not exist is logged at the start', async t => {
  const folder = temporaryFolder();
  const server = await startServerFor(t, '--static', folder, '--static-fallback', 'app.html');
  assert.equal((await server.untilLogged(({ event }) => event === 'no fallback'))['file'], 'app.html');
});

test('a fallback without a site is logged at the start', async t => {
  const server = await startServerFor(t, '--static-fallback', 'app.html');
  const { option, remedy } = await server.untilLogged(({ event }) => event === 'option without effect');
  assert.deepEqual([option, remedy], ['static-fallback', 'give --static, too']);
});

test('the server has no file open after any answer, nor after its start', async t => {
  if (skipUnlessLinux(t, '/proc')) return;
  const outside = temporaryFolder();
  const folder = join(outside, 'www');
  mkdirSync(folder);
  const files = { 'index.html': 'app', '404.html': 'lost', 'a.js': 'original', 'a.js.gz': 'squeezed' };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  writeFileSync(join(outside, 'secret.txt'), '');
  symlinkSync('../secret.txt', join(folder, 'link.txt'));
  const { port, pid } = await startServerFor(t, '--static', folder, '--static-fallback', 'index.html');
  assert.equal(openFilesBelow(pid, outside), 0);
  for (const [path, status, headers] of [
    ['/a.js', 200, {}],
    ['/a.js', 200, { 'Accept-Encoding': 'gzip' }],
    ['/a.js', 206, { Range: 'bytes=0-1' }],
    ['/a.js', 416, { Range: 'bytes=99-' }],
    ['/a.js', 304, { 'If-None-Match': '*' }],
    ['/a.js', 412, { 'If-Match': '"x"' }],
    ['/orders', 200, {}],
    ['/missing.js', 404, {}],
    ['/link.txt', 404, {}],
  ] as const) {
    const { status: actual } = await ask(port, 'GET', path, { headers });
    assert.equal(actual, status, path);
    await ask(port, 'HEAD', path, { headers });
    assert.equal(openFilesBelow(pid, outside), 0, `${path} ${JSON.stringify(headers)}`);
  }
});
