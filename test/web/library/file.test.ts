/** The library as the server sends it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { startServerFor } from '../../support/serverProcess.ts';

const maxSize = 4096;

test('GET /pollywog.js is the built library: at most 4,096 bytes, an ES module for pages of every origin', async t => {
  const { port } = await startServerFor(t);
  const url = `http://127.0.0.1:${port}/pollywog.js`;
  const response = await fetch(url);
  const text = await response.text();
  const built = readFileSync(new URL('../../../../dist/web/library/pollywog.js', import.meta.url), 'utf8');
  assert.equal(text, built);
  const size = Buffer.byteLength(text);
  assert.ok(size > 0 && size <= maxSize, `${size} bytes`);
  assert.doesNotMatch(text, /\bimport\b/, 'it is one file');
  assert.match(text, /export\{\w+ as subscribe\}/);
  const header = (name: string) => response.headers.get(name);
  assert.equal(header('content-type'), 'text/javascript; charset=utf-8');
  assert.equal(header('access-control-allow-origin'), '*');
  assert.equal(header('cache-control'), 'no-cache');
  assert.equal(header('content-encoding'), 'gzip');
  const page = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(page.headers.get('access-control-allow-origin'), null);
  await page.text();
});
