/** The inspector's page as it is built. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const maxSize = 60_000;
const folder = new URL('../../../../dist/web/inspector/', import.meta.url);

test("the inspector's page is three files of at most 60,000 bytes together, and loads nothing else", () => {
  const names = readdirSync(folder).sort();
  assert.deepEqual(names, ['index.html', 'inspector.css', 'inspector.js']);
  const texts = names.map(name => readFileSync(new URL(name, folder), 'utf8'));
  const size = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  assert.ok(size <= maxSize, `${size} bytes`);
  assert.doesNotMatch(texts[1]!, /@import|url\(/);
  assert.doesNotMatch(texts[2]!, /\bimport\b|\.innerHTML|insertAdjacentHTML|document\.write/);
});
