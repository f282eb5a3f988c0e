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

/** The subjects, sorted. */
export function subjects(): string[] {
  const names = readdirSync(folder).filter(name => name.endsWith('.md'));
  return names.map(name => basename(name, '.md')).toSorted();
}

/** @param subject one of `subjects()` */
export function readPage(subject: string): Page {
  const markdown = readFileSync(new URL(`${subject}.md`, folder), 'utf8');
  const [, summary = ''] = markdown.split('\n\n', 2);
  return { subject, summary, markdown };
}

/** The subject of the page that a link leads to; undefined for all other links. */
export function pageOf(target: string): string | undefined {
  return /^([a-z\d-]+)\.md(?:#.*)?$/.exec(target)?.[1];
}
