/** The pages of the manual: one file of Markdown for each subject, beside this one. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

export interface Page {
  /** Its name, as in `pollywog help SUBJECT`. */
  readonly subject: string;
  /** Its first paragraph: one line. */
  readonly summary: string;
  readonly markdown: string;
}

const folder = new URL('.', import.meta.url);

/** The subject of chapter N of the course is `tour-N`; its file is `tour/N-NAME.md`. */
const chapterName = /^(\d)-[a-z-]+\.md$/;

/** The subjects, sorted. */
export function subjects(): string[] {
  return [...pageFiles().keys()].toSorted();
}

/** The files of the pages by subject, relative to the folder of the manual. */
function pageFiles(): Map<string, string> {
  const pages = readdirSync(folder).filter(name => name.endsWith('.md'));
  const chapters = readdirSync(new URL('tour/', folder)).filter(name => chapterName.test(name));
  return new Map([
    ...pages.map(name => [basename(name, '.md'), name] as const),
    ...chapters.map(name => [name.replace(chapterName, 'tour-$1'), `tour/${name}`] as const),
  ]);
}

/** @param subject one of `subjects()` @returns its path in the folder of the manual */
export function pageFile(subject: string): string {
  const file = pageFiles().get(subject);
  if (file === undefined) throw new Error(`the manual has no page ${subject}`);
  return file;
}

/** Whether the subject is a chapter of the course, which the page `tour` lists. */
export function isChapter(subject: string): boolean {
  return /^tour-\d$/.test(subject);
}

/** @param subject one of `subjects()` */
export function readPage(subject: string): Page {
  const markdown = readFileSync(new URL(pageFile(subject), folder), 'utf8');
  const [, summary = ''] = markdown.split('\n\n', 2);
  return { subject, summary, markdown };
}

/** The subject of the page that a link on another page leads to; undefined for all other links. */
export function pageOf(target: string): string | undefined {
  const [, name] = /^(?:\.\.\/)?(?:tour\/)?([a-z\d-]+\.md)(?:#.*)?$/.exec(target) ?? [];
  if (name === undefined) return undefined;
  return chapterName.test(name) ? name.replace(chapterName, 'tour-$1') : basename(name, '.md');
}
