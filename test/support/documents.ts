/** The documents: the README, the tour of `src/`, the pages of the manual, and what contributors read. */
import { readFileSync } from 'node:fs';
import { isChapter, pageFile, subjects } from '../../src/manual/pages.ts';

// Tests run from build/test/.
export const root = new URL('../../../', import.meta.url);

export interface Document {
  /** Its path in the tree, such as `src/manual/chat.md`. */
  readonly path: string;
  readonly text: string;
}

function readDocument(path: string): Document {
  return { path, text: readFileSync(new URL(path, root), 'utf8') };
}

export const readme = readDocument('README.md');
export const tour = readDocument('src/README.md');

/** The chapters of the course by their subjects, such as `tour-1`. */
export const chapters: ReadonlyMap<string, Document> = new Map(
  subjects()
    .filter(isChapter)
    .map(subject => [subject, readDocument(`src/manual/${pageFile(subject)}`)]),
);

/** The pages of the manual by their subjects, the chapters of the course among them. */
export const manual: ReadonlyMap<string, Document> = new Map(
  subjects().map(subject => [subject, readDocument(`src/manual/${pageFile(subject)}`)]),
);

const forContributors = ['CHANGELOG.md', '.github/CONTRIBUTING.md', '.github/SECURITY.md'].map(readDocument);

export const documents: readonly Document[] = [readme, tour, ...manual.values(), ...forContributors];

/** @throws Error if the manual has no page for `subject` */
export function manualPage(subject: string): string {
  const page = manual.get(subject);
  if (page === undefined) throw new Error(`src/manual/${subject}.md does not exist`);
  return page.text;
}

/** The first block of code in this language on the manual's page. @throws Error if the page has none */
export function firstExample(subject: string, language: string): string {
  const [, code] = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'ms').exec(manualPage(subject)) ?? [];
  if (code === undefined) throw new Error(`src/manual/${subject}.md has no ${language}`);
  return code;
}
