/** The rules of `--allow` decide who may read the files of a site. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ask } from '../../support/pollClient.ts';
import { startServerFor } from '../../support/serverProcess.ts';
import { temporaryFolder } from '../../support/temporaryFolder.ts';
import { siteSecret, tokenOf } from '../../support/tokens.ts';

const secret = 'SECRET';
const token = tokenOf({ sub: '17', exp: Math.floor(Date.now() / 1000) + 600 });
const signedIn = { Authorization: `Bearer ${token}` };

/** Starts a server with a site whose folder `internal` has secrets. @returns its port */
async function startSite(t: TestContext, ...rules: string[]): Promise<number> {
  const folder = temporaryFolder();
  const site = join(folder, 'www');
  const files: Record<string, string | Buffer> = {
    'index.html': 'front',
    'open.txt': 'open',
    'internal/index.html': secret,
    'internal/plan.txt': secret,
    'internal/plan.txt.gz': gzipSync(secret),
    'internal/a b/plan.txt': secret,
  };
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(site, name)), { recursive: true });
    writeFileSync(join(site, name), content);
  }
  const key = join(folder, 'key');
  writeFileSync(key, siteSecret, { mode: 0o600 });
  const allowed = rules.flatMap(rule => ['--allow', rule]);
  const options = ['--static', site, '--static-fallback', 'index.html', '--auth-key', key, ...allowed];
  return (await startServerFor(t, ...options)).port;
}

test('files that a rule keeps for users are refused to all others, however the path is written', async t => {
  const port = await startSite(t, '/internal/**: connect=user');
  for (const path of [
    ...['/internal', '/internal/', '/internal/index.html', '/internal/plan.txt', '/internal/plan.txt.gz'],
    ...['/%69nternal/plan.txt', '/internal/%70lan.txt', '/internal/a%20b/plan.txt', '/internal/a%20b/'],
    // The rule also covers paths without a file, so the answer does not tell which files exist.
    ...['/internal/missing', '/internal/missing.js'],
  ]) {
    for (const method of ['GET', 'HEAD', 'OPTIONS']) {
      const answer = await ask(port, method, path, { headers: { 'Accept-Encoding': 'gzip' } });
      assert.equal(answer.status, 401, `${method} ${path}`);
      assert.ok(!answer.body.includes(secret), path);
    }
  }
  for (const path of ['/internal/', '/internal/index.html', '/%69nternal/plan.txt'])
    assert.equal((await ask(port, 'GET', path, { headers: signedIn })).body, secret, path);
  for (const path of ['/', '/open.txt', '/internals/missing'])
    assert.equal((await ask(port, 'GET', path)).status, 200, path);
});

test('a path that could be read in two ways is refused before any rule looks at it', async t => {
  const port = await startSite(t, '/internal/**: connect=user', '/**: connect=anyone');
  for (const path of [
    '/x/../internal/plan.txt',
    '/./internal/plan.txt',
    '//internal/plan.txt',
    '/internal%2fplan.txt',
  ])
    assert.equal((await ask(port, 'GET', path)).status, 404, path);
});

test("a folder's page needs the right for the folder's path and for that of index.html", async t => {
  for (const [rule, status] of [
    ['/internal: connect=nobody', 403],
    ['/internal/*: connect=nobody', 403],
    ['/internal/index.html: connect=nobody', 403],
    ['/internal/plan.txt: connect=nobody', 200],
  ] as const) {
    const port = await startSite(t, rule);
    assert.equal((await ask(port, 'GET', '/internal/')).status, status, rule);
  }
});

test('a table that ends in nobody opens the site by rules for its paths', async t => {
  const port = await startSite(t, '/: connect=anyone', '/*.*: connect=anyone', '/**: connect=nobody');
  for (const [path, status] of [
    ['/', 200],
    ['/open.txt', 200],
    ['/internal/plan.txt', 403],
    ['/pollywog.js', 200],
  ] as const)
    assert.equal((await ask(port, 'GET', path)).status, status, path);
});

test('a copy that a client keeps is not confirmed to a client without the right', async t => {
  const port = await startSite(t, '/internal/**: connect=user');
  const { headers } = await ask(port, 'GET', '/internal/plan.txt', { headers: signedIn });
  const condition = { 'If-None-Match': headers.get('etag')! };
  assert.equal((await ask(port, 'GET', '/internal/plan.txt', { headers: condition })).status, 401);
  const both = { ...condition, ...signedIn };
  assert.equal((await ask(port, 'GET', '/internal/plan.txt', { headers: both })).status, 304);
});
