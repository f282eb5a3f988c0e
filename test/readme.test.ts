/** The README, the tour and the manual agree with each other, with the tree, and with what the program prints. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { commandNames } from '../src/commands/help.ts';
import { isChapter } from '../src/manual/pages.ts';
import { groupHelp, helpText } from '../src/options/help.ts';
import { backpressureThreshold, connectionBudget, defaults, maxFragments } from '../src/protocol/limits.ts';
import { documents, manual, manualPage, readme, root, tour } from './support/documents.ts';

const makefile = readFileSync(new URL('Makefile', root), 'utf8');

/** The link to a title, as GitHub makes it. */
const anchorOf = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^\w -]/g, '')
    .replaceAll(' ', '-');

const withoutCode = (text: string) => text.replace(/^```.*?^```$/gms, '');
const titlesOf = (text: string) => [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map(([, title]) => title!);
const linksOf = (text: string) =>
  [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!);

describe('the documents', () => {
  test('every link leads to a file and a section that exist', () => {
    let count = 0;
    for (const { path, text } of documents) {
      for (const link of linksOf(text).filter(link => !/^\w+:/.test(link))) {
        const [target = '', anchor] = link.split('#');
        const url = new URL(target || path.split('/').at(-1)!, new URL(path, root));
        assert.ok(existsSync(url), `${path}: ${link}`);
        if (anchor !== undefined) {
          assert.ok(titlesOf(readFileSync(url, 'utf8')).map(anchorOf).includes(anchor), `${path}: ${link}`);
        }
        count++;
      }
    }
    assert.ok(count > 50);
  });

  test('the README links to every page of the manual, and to the tour', () => {
    const links = linksOf(readme.text);
    // The page of the course links to its chapters.
    const pages = [...manual].filter(([subject]) => !isChapter(subject)).map(([, page]) => page);
    for (const { path } of [...pages, tour]) assert.ok(links.includes(path), path);
  });

  test('the README is short', () => {
    assert.ok(readme.text.split('\n').length <= 300);
  });

  test('no document has two sections of one name', () => {
    for (const { path, text } of documents) {
      const titles = titlesOf(text);
      assert.deepEqual(titles, [...new Set(titles)], path);
    }
  });

  test('nothing is said twice', () => {
    // The README repeats rows of the table of speed; see below.
    const withoutSpeed = (text: string) => text.replace(/^## Speed\n.*?^## /ms, '');
    const prose = documents.flatMap(({ text }) => withoutSpeed(withoutCode(text)).split('\n'));
    const beginnings = prose
      .filter(line => line.length > 40)
      .map(line => (line.startsWith('|') ? line : line.slice(0, 40)));
    assert.ok(beginnings.length > 100);
    const again = beginnings.filter((line, index) => beginnings.indexOf(line) < index);
    assert.deepEqual(again, []);
  });

  test('a test runs the examples of every page that has some', () => {
    for (const [name, { text }] of [...manual, ['README', readme] as const]) {
      // The experiments of the course are run by tour.test.ts, all in the same way.
      if (!text.includes('\n```') || isChapter(name)) continue;
      const file = new URL(`test/manual/${name.toLowerCase()}.test.ts`, root);
      assert.ok(existsSync(file), `test/manual/${name.toLowerCase()}.test.ts`);
      assert.ok(readFileSync(file, 'utf8').includes(`testExamples('${name}', {`), name);
    }
  });

  test('every file of the tree that they name exists', () => {
    let count = 0;
    for (const { path, text } of documents) {
      for (const [name] of text.matchAll(
        /(?<![\w/])(?:build\/)?(?:src|test)\/[\w/]+\.(?:ts|js|mjs|md|json)/g,
      )) {
        const source = name.replace(/^build\/(.*)\.js$/, '$1.ts');
        assert.ok(existsSync(new URL(source, root)), `${path}: ${name}`);
        count++;
      }
    }
    assert.ok(count > 5);
  });

  test('every make target they name exists', () => {
    const targets = new Set([...makefile.matchAll(/^([a-z-]+):/gm)].map(([, name]) => name));
    for (const { path, text } of documents) {
      const named = [...text.matchAll(/\bmake ([a-z-]+)/g)].map(([, name]) => name!);
      for (const name of named.filter(name => name !== 'a')) {
        assert.ok(targets.has(name), `${path}: make ${name}`);
      }
    }
  });
});

describe('the manual', () => {
  test('shows the options as --help does', () => {
    assert.ok(
      manualPage('options').includes(`\`\`\`\n${helpText(commandNames())}\n\`\`\``),
      'src/manual/options.md: put in what --help prints',
    );
  });

  test('shows the options for tests in full, which --help only names', () => {
    assert.ok(
      manualPage('testing').includes(`\`\`\`\n${groupHelp('Testing')}\n\`\`\``),
      'src/manual/testing.md: put in the group Testing of the options',
    );
  });

  test('has every row of the table of speed that the README shows', () => {
    const [table = ''] = /^\| work \|.*?(?=\n\n)/ms.exec(readme.text) ?? [];
    const rows = table.split('\n');
    assert.equal(rows.length, 7);
    const full = manualPage('speed').split('\n');
    for (const row of rows) assert.ok(full.includes(row), row);
  });

  test('states the limits as they are', () => {
    const page = manualPage('limits');
    assert.equal(defaults.maxMessage, 16 * 1024 * 1024);
    assert.ok(page.includes('16 MiB | `--max-message`'));
    assert.ok(page.includes(`${maxFragments.toLocaleString('en')} |`));
    assert.ok(page.includes(`${connectionBudget.toLocaleString('en')} messages`));
    assert.ok(page.includes(`${backpressureThreshold / 1024} KiB | |`));
    assert.ok(page.includes(`${defaults.pingInterval / 1000} s, ${defaults.pongTimeout / 1000} s |`));
  });
});

test('the tour shows every folder of src/, and every function that it names exists', () => {
  const { text } = tour;
  const source = new URL('src/', root);
  const folders = [...text.matchAll(/^\| `(\w+)\/` \|/gm)].map(([, name]) => name!);
  assert.deepEqual(
    folders.toSorted(),
    readdirSync(source, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(({ name }) => name)
      .toSorted(),
  );
  const [, stages = ''] = /\| stage \|.*?\n(.*?)\n\n/s.exec(text) ?? [];
  const named = stages
    .split('\n')
    .flatMap(row => row.split('|')[2]?.match(/(?<=`)[a-z]\w+(?=`(?!\]))/g) ?? []);
  assert.ok(named.length > 10);
  const code = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => readFileSync(new URL(name, source), 'utf8'))
    .join('');
  for (const name of named) assert.match(code, new RegExp(`\\b${name}\\??[(:]`), name);
});
