/** No path of a URL leads to a hidden file, or to a file outside of the site. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ask } from '../../support/pollClient.ts';
import { exchange } from '../../support/rawClient.ts';
import { startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';

const secret = 'SECRET';

/** Makes a site, and files in and around it that must not be served. @returns the folder of the site */
function makeSite(): string {
  const outside = temporaryFolder();
  const site = join(outside, 'www');
  for (const folder of ['', 'docs', '.git', 'docs/.cache', '.well-known', 'docs/.well-known', 'assets'])
    mkdirSync(join(site, folder), { recursive: true });
  mkdirSync(join(outside, 'www-private'));
  mkdirSync(join(outside, 'private'));
  const files: Record<string, string> = {
    'www/index.html': 'the front page',
    'www/docs/index.html': 'the docs',
    'www/a b.txt': 'a blank',
    'www/%2e%2e': 'an odd name',
    'www/.well-known/security.txt': 'for strangers',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(outside, name), text);
  for (const name of [
    ...['secret.txt', 'secret', 'private/index.html', 'private/secret.txt', 'www-private/secret.txt'],
    ...[
      'www/.env',
      'www/.htpasswd',
      'www/.git/config',
      'www/docs/.cache/secret.txt',
      'www/..secret',
      'www/...',
    ],
    ...[
      'www/.well-known/.secret',
      'www/docs/.well-known/secret.txt',
      'www/back\\slash.txt',
      'www/new\nline.txt',
    ],
  ])
    writeFileSync(join(outside, name), secret);
  symlinkSync('../secret.txt', join(site, 'link.txt'));
  symlinkSync(join(outside, 'secret.txt'), join(site, 'absolute.txt'));
  symlinkSync('../private', join(site, 'linked'));
  symlinkSync('..', join(site, 'up'));
  symlinkSync('../www-private', join(site, 'sibling'));
  symlinkSync('.env', join(site, 'env.txt'));
  symlinkSync('.git', join(site, 'git'));
  symlinkSync('loop', join(site, 'loop'));
  symlinkSync('../secret.txt', join(site, 'index.txt.gz'));
  symlinkSync('../secret.txt', join(site, 'assets', 'index.html'));
  symlinkSync('/proc/self/environ', join(site, 'environ'));
  symlinkSync('/dev/zero', join(site, 'zero'));
  symlinkSync('docs/index.html', join(site, 'inside.html'));
  symlinkSync('docs', join(site, 'manual'));
  execFileSync('mkfifo', [join(site, 'fifo')]);
  writeFileSync(join(site, 'index.txt'), 'plain');
  return site;
}

/** Paths that must be answered with 400 or 404. */
const attacks: readonly string[] = [
  // Dot segments, plain and percent-encoded.
  ...['/../secret.txt', '/docs/../../secret.txt', '/./secret', '/docs/..', '/..', '/.', '/docs/./index.html'],
  ...['/%2e%2e/secret.txt', '/%2E%2E/secret.txt', '/.%2e/secret.txt', '/%2e./secret.txt', '/..%2fsecret.txt'],
  ...[
    '/..%2Fsecret.txt',
    '/%2e%2e%2fsecret.txt',
    '/docs/%2e%2e/%2e%2e/secret.txt',
    '/docs%2f..%2f..%2fsecret.txt',
  ],
  ...[
    '/../www-private/secret.txt',
    '/%2e%2e/www-private/secret.txt',
    '/..;/secret.txt',
    '/../../../../../../etc/passwd',
  ],
  // Encoded twice: a server must decode once.
  ...[
    '/%252e%252e/secret.txt',
    '/%252e%252e%252fsecret.txt',
    '/..%252fsecret.txt',
    '/%25%32%65%25%32%65/secret.txt',
  ],
  // Overlong and invalid UTF-8, and characters that look like dots and slashes.
  ...[
    '/%c0%ae%c0%ae/secret.txt',
    '/..%c0%afsecret.txt',
    '/%e0%80%ae%e0%80%ae/secret.txt',
    '/%uff0e%uff0e/secret.txt',
  ],
  ...['/%ef%bc%8e%ef%bc%8e/secret.txt', '/..%e2%88%95secret.txt', '/%ff', '/%', '/%2', '/%zz/secret.txt'],
  // Backslashes.
  ...[
    '/..\\secret.txt',
    '/..%5csecret.txt',
    '/..%5C..%5Csecret.txt',
    '/back%5cslash.txt',
    '/\\..\\secret.txt',
  ],
  // NUL and other control characters.
  ...['/%00', '/index.html%00', '/index.html%00.txt', '/../secret.txt%00.html', '/new%0aline.txt', '/%7f'],
  // Empty segments and absolute paths.
  ...[
    '//secret.txt',
    '//etc/passwd',
    '/docs//index.html',
    '///',
    '/%2fetc/passwd',
    '/%2f%2fetc/passwd',
    '/file:///etc/passwd',
  ],
  // Dotfiles.
  ...[
    '/.env',
    '/%2eenv',
    '/.htpasswd',
    '/.git/config',
    '/%2egit/config',
    '/docs/.cache/secret.txt',
    '/..secret',
    '/...',
  ],
  ...['/.well-known/.secret', '/docs/.well-known/secret.txt', '/.git', '/.git/'],
  // Links out of the folder, to dotfiles, to devices, and to themselves.
  ...['/link.txt', '/absolute.txt', '/linked/', '/linked/secret.txt', '/linked', '/up/secret.txt'],
  ...[
    '/sibling/secret.txt',
    '/env.txt',
    '/git/config',
    '/git',
    '/loop',
    '/assets/',
    '/environ',
    '/zero',
    '/fifo',
  ],
  // A file used as a folder, and names that are too long.
  ...[
    '/index.html/',
    '/index.html/..',
    '/index.html/../../secret.txt',
    `/${'a'.repeat(300)}`,
    `/${'a/'.repeat(2000)}b`,
  ],
];

async function start(t: TestContext, site: string, ...options: string[]): Promise<number> {
  const { port } = await startServerFor(t, '--static', site, ...options);
  return port;
}

test(`none of ${attacks.length} paths leads out of the folder or to a hidden file`, async t => {
  assert.ok(attacks.length >= 40 && new Set(attacks).size === attacks.length);
  const port = await start(t, makeSite());
  for (const path of attacks) {
    for (const headers of [{}, { 'Accept-Encoding': 'gzip, br' }]) {
      const answer = await ask(port, 'GET', path, { headers });
      assert.ok(answer.status === 400 || answer.status === 404, `${path}: ${answer.status}`);
      assert.ok(!answer.body.includes(secret) && !answer.body.includes('root:'), path);
    }
  }
});

test('with --static-fallback these paths get 400, 404 or the page of the app, and hidden ones get 404', async t => {
  const port = await start(t, makeSite(), '--static-fallback', 'index.html');
  for (const path of attacks) {
    const { status, body } = await ask(port, 'GET', path);
    assert.ok(status === 400 || status === 404 || body === 'the front page', `${path}: ${status}`);
  }
  for (const path of ['/.env', '/.git/config', '/..%2fsecret.txt', '/%2e%2e/secret'])
    assert.equal((await ask(port, 'GET', path)).status, 404, path);
});

test('blanks, odd names, links within the folder and /.well-known are served', async t => {
  const port = await start(t, makeSite());
  for (const [path, text] of [
    ['/', 'the front page'],
    ['/a%20b.txt', 'a blank'],
    ['/%252e%252e', 'an odd name'],
    ['/%69ndex.html', 'the front page'],
    ['/inside.html', 'the docs'],
    ['/manual/', 'the docs'],
    ['/.well-known/security.txt', 'for strangers'],
    ['/index.html?../../secret.txt', 'the front page'],
  ] as const) {
    const { status, body } = await ask(port, 'GET', path);
    assert.deepEqual([status, body], [200, text], path);
  }
});

test('a target in the absolute form, without a slash, or with another method is refused, too', async t => {
  const port = await start(t, makeSite());
  for (const line of [
    'GET http://x/../secret.txt HTTP/1.1',
    'GET http://x/%2e%2e/secret.txt HTTP/1.1',
    'GET http://x/.env HTTP/1.1',
    'HEAD /.env HTTP/1.1',
    'GET secret.txt HTTP/1.1',
    'GET ../secret.txt HTTP/1.1',
    'POST /.env HTTP/1.1',
    'PUT /new.txt HTTP/1.1',
    'DELETE /index.html HTTP/1.1',
  ]) {
    const answer = await exchange(port, Buffer.from(`${line}\r\nHost: x\r\nConnection: close\r\n\r\n`));
    assert.match(answer.toString(), /^HTTP\/1\.1 (?:400|404|405) /, line);
    assert.ok(!answer.includes(secret), line);
  }
});

test('a compressed file that is a link out of the folder is ignored', async t => {
  const port = await start(t, makeSite());
  const headers = { 'Accept-Encoding': 'gzip' };
  const answer = await ask(port, 'GET', '/index.txt', { headers });
  assert.equal(answer.body, 'plain');
  assert.equal(answer.headers.get('content-encoding'), undefined);
});

test('--static-follow permits links out of the folder, but no other way out', async t => {
  const port = await start(t, makeSite(), '--static-follow');
  for (const path of ['/link.txt', '/absolute.txt', '/linked/secret.txt', '/linked/'])
    assert.equal((await ask(port, 'GET', path)).body, secret, path);
  for (const path of ['/../secret.txt', '/%2e%2e/secret.txt', '/.env', '/loop', '/fifo', '/zero'])
    assert.equal((await ask(port, 'GET', path)).status, 404, path);
});

test('a folder that is a link can be replaced while the server runs, as deployments do', async t => {
  const folder = temporaryFolder();
  for (const version of ['1', '2']) {
    mkdirSync(join(folder, version));
    writeFileSync(join(folder, version, 'index.html'), `version ${version}`);
  }
  const current = join(folder, 'current');
  symlinkSync('1', current);
  const port = await start(t, current);
  assert.equal((await ask(port, 'GET', '/')).body, 'version 1');
  symlinkSync('2', join(folder, 'next'));
  renameSync(join(folder, 'next'), current);
  assert.equal((await ask(port, 'GET', '/')).body, 'version 2');
  rmSync(current);
  assert.equal((await ask(port, 'GET', '/')).status, 404);
});
