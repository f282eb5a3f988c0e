/** The course: its code is the source's, its experiments print what it shows, and all chapters have one form. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chapters, manualPage } from '../support/documents.ts';
import { testExamples } from './examples.ts';
import { exercises } from './exercises/all.ts';
import { includeSource } from './included.ts';
import { testChapter } from './tour.ts';

testExamples('tour', {
  'sh make build': () => {},
  'sh alias': () => {},
});

const numbers = [...chapters.keys()].map(subject => Number(subject.slice('tour-'.length)));

describe('the experiments', { concurrency: 2 }, () => {
  for (const number of numbers) testChapter(number);
});

const withoutCode = (text: string) => text.replace(/^```.*?^```$/gms, '');

describe('the chapters', () => {
  test('show code as it is in the source; if not, `make tour` writes it', () => {
    for (const { path, text } of chapters.values()) assert.equal(text, includeSource(text), path);
  });

  test('have the same sections in the same order, and an exercise each', () => {
    for (const [subject, { path, text }] of chapters) {
      const number = Number(subject.slice('tour-'.length));
      assert.match(text, new RegExp(`^# ${number}\\. `), path);
      const sections = [...withoutCode(text).matchAll(/^## (.+)$/gm)].map(([, title]) => title);
      assert.deepEqual(sections, ['In C', 'Here', 'Experiment', 'Question', 'Exercise', 'Answer'], path);
      assert.ok(exercises.has(number), path);
    }
  });

  test('are lessons of 45 minutes: at most 150 lines besides code', () => {
    for (const { path, text } of chapters.values()) {
      const lines = withoutCode(text).split('\n').length;
      assert.ok(lines <= 150, `${path} has ${lines} lines`);
    }
  });

  test('are all listed by the page of the course, with their titles', () => {
    const index = manualPage('tour');
    for (const { path, text } of chapters.values()) {
      const title = /^# (.+)$/m.exec(text)![1]!;
      assert.ok(index.includes(`[${title}](${path.slice('src/manual/'.length)})`), path);
    }
  });
});

describe('an include', () => {
  const source = [
    'const a = 1;',
    '',
    '/** Adds. */',
    'export function add(',
    '  x: number,',
    '): number {',
    '  // One more.',
    '  if (x > a) {',
    '    return x + a;',
    '  }',
    '  return 0;',
    '}',
    '',
    'const twice = (x: number) =>',
    '  x + x;',
    '',
    'type Kind =',
    "  | 'one'",
    "  | 'two';",
    '',
    'class Box {',
    '  size = 1;',
    '',
    '  /** Opens it. */',
    '  open(): void {',
    '    add(1);',
    '  }',
    '}',
  ].join('\n');
  const included = (fence: string) =>
    includeSource(`${fence}\nold\n\`\`\``, () => source)
      .split('\n')
      .slice(1, -1);

  test('is a declaration with its comment, or a part of it', () => {
    assert.deepEqual(included('```ts src/x.ts#a'), ['const a = 1;']);
    assert.equal(included('```ts src/x.ts#add').length, 10);
    assert.deepEqual(included('```ts src/x.ts#Kind').at(-1), "  | 'two';");
    assert.deepEqual(included('```ts src/x.ts#twice').at(-1), '  x + x;');
    assert.deepEqual(included('```ts src/x.ts#Box.open').at(0), '/** Opens it. */');
    const part = ['// One more.', 'if (x > a) {', '  return x + a;', '}'];
    assert.deepEqual(included('```ts src/x.ts#add from "// One" to "  }"'), part);
  });

  test('of a name or a text that the source does not have is an error that names it', () => {
    assert.throws(() => included('```ts src/x.ts#sub'), /src\/x\.ts#sub: the file does not declare sub/);
    assert.throws(() => included('```ts src/x.ts#add from "zero" to "}"'), /does not contain "zero"/);
    assert.throws(() => included('```ts src/x.ts#Box.close'), /no method close/);
  });
});
