import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { commandLines } from '../src/commands/help.ts';
import { helpText } from '../src/options/help.ts';
import { defaults, heldBackOutput, maxFragments, turnShare } from '../src/protocol/limits.ts';

const root = new URL('../../', import.meta.url);
const readme = readFileSync(new URL('README.md', root), 'utf8');
const makefile = readFileSync(new URL('Makefile', root), 'utf8');

describe('the README', () => {
  test('shows the options as --help does', () => {
    assert.ok(
      readme.includes(`\`\`\`\n${helpText(commandLines())}\n\`\`\``),
      'README.md: put in what --help prints',
    );
  });

  test('links to files that are there', () => {
    const links = [...readme.matchAll(/\]\(((?:src|test)\/[^)]+)\)/g)].map(([, path]) => path!);
    assert.ok(links.length > 10);
    for (const path of links) assert.ok(existsSync(new URL(path, root)), path);
  });

  test('tours the folders of src/, and what it names is there', () => {
    const folders = [...readme.matchAll(/^\| `(\w+)\/` \|/gm)].map(([, name]) => name!);
    assert.deepEqual(
      folders.toSorted(),
      readdirSync(new URL('src/', root), { withFileTypes: true })
        .filter(entry => entry.isDirectory())
        .map(({ name }) => name)
        .toSorted(),
    );
    const [, stages = ''] = /\| stage \|.*?\n(.*?)\n\n/s.exec(readme) ?? [];
    const named = stages
      .split('\n')
      .flatMap(row => row.split('|')[2]?.match(/(?<=`)[a-z]\w+(?=`(?!\]))/g) ?? []);
    assert.ok(named.length > 10);
    const source = readdirSync(new URL('src/', root), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.ts'))
      .map(name => readFileSync(new URL(`src/${name}`, root), 'utf8'))
      .join('');
    for (const name of named) assert.match(source, new RegExp(`\\b${name}\\??[(:]`), name);
  });

  test('links to sections that are there', () => {
    const anchors = new Set(
      [...readme.matchAll(/^##+ (.+)$/gm)].map(([, title]) =>
        title!
          .toLowerCase()
          .replace(/[^\w -]/g, '')
          .replaceAll(' ', '-'),
      ),
    );
    const links = [...readme.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor!);
    assert.ok(links.length > 20);
    for (const anchor of links) assert.ok(anchors.has(anchor), anchor);
  });

  test('has each of its sections once', () => {
    const titles = [...readme.matchAll(/^##+ (.+)$/gm)].map(([, title]) => title);
    assert.deepEqual(titles, [...new Set(titles)]);
  });

  test('says nothing twice', () => {
    const prose = readme.replace(/^```.*?^```$/gms, '').split('\n');
    const beginnings = prose
      .filter(line => line.length > 40)
      .map(line => (line.startsWith('|') ? line : line.slice(0, 40)));
    assert.ok(beginnings.length > 100);
    const again = beginnings.filter((line, index) => beginnings.indexOf(line) < index);
    assert.deepEqual(again, []);
  });

  test('names make targets that there are', () => {
    const targets = new Set([...makefile.matchAll(/^([a-z-]+):/gm)].map(([, name]) => name));
    const named = [...readme.matchAll(/\bmake ([a-z-]+)/g)].map(([, name]) => name!);
    for (const name of named.filter(name => name !== 'a')) assert.ok(targets.has(name), `make ${name}`);
  });

  test('states the bounds as they are', () => {
    assert.equal(defaults.maxMessage, 16 * 1024 * 1024);
    assert.ok(readme.includes('16 MiB | `--max-message`'));
    assert.ok(readme.includes(`${maxFragments.toLocaleString('en')} |`));
    assert.ok(readme.includes(`${turnShare.toLocaleString('en')} messages`));
    assert.ok(readme.includes(`${heldBackOutput / 1024} KiB | |`));
    assert.ok(readme.includes(`${defaults.pingInterval / 1000} s, ${defaults.pongTimeout / 1000} s |`));
  });
});
