/** `make tour`: writes the included code into the chapters of the course. */
import { readFileSync, writeFileSync } from 'node:fs';
import { chapters, root } from '../support/documents.ts';
import { includeSource } from './included.ts';

for (const { path } of chapters.values()) {
  const url = new URL(path, root);
  const before = readFileSync(url, 'utf8');
  const after = includeSource(before);
  if (after === before) continue;
  writeFileSync(url, after);
  console.log(`wrote ${path}`);
}
