/**
 * Makes the manual pages: one for each program and file format, from the frames in this folder and what `--help` prints, and
 * one in section 7 for each subject of the manual.
 *
 *     node dist/install/manPages.js FOLDER
 *
 * In a frame, `@synopsis` and `@options` stand for what `--help` prints: options are described in their table alone.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { commandSection } from '../commands/help.ts';
import { readPage, subjects } from '../manual/pages.ts';
import { escaped, example, manPage } from '../manual/roff.ts';
import { fullHelpText } from '../options/help.ts';

const root = new URL('../../', import.meta.url);
const frames = new URL('src/install/', root);

/** Builds the page `name(section)` from its frame and the output of the program's `--help`. */
export function programPage(
  name: string,
  section: string,
  version: string,
  frame: string,
  help: string,
): string {
  return manPage({ name, section, version, markdown: frame }, paragraph => {
    if (paragraph === '@synopsis') return synopsis(help);
    return paragraph === '@options' ? optionSections(help) : undefined;
  });
}

/** The usage lines: `pollywog [OPTION]...`; if there are several, with what each does. */
function synopsis(help: string): string[] {
  const [usage = []] = paragraphs(help);
  const calls = usage.map(line => `  ${line.replace(/^Usage: /, '').trimStart()}`);
  return ['.SH SYNOPSIS', ...calls.flatMap(call => item(call) ?? `.B ${escaped(call.trimStart())}`)];
}

/** OPTIONS with its notes, then the sections with their own headings, such as EXAMPLES. */
function optionSections(help: string): string[] {
  const [, options = [], ...rest] = paragraphs(help);
  const headed = rest.filter(lines => headingOf(lines) !== undefined);
  const notes = rest.filter(lines => headingOf(lines) === undefined);
  return [
    ...['.SH OPTIONS', ...options.flatMap(line => item(line) ?? [`.SS ${escaped(line.replace(/:$/, ''))}`])],
    // Without a heading, roff makes a paragraph after a list part of the last item.
    ...['.SS Notes', ...notes.flatMap(lines => ['.PP', ...lines.map(escaped)])],
    ...headed.flatMap(lines => [`.SH ${headingOf(lines)}`, ...listOf(lines.slice(1))]),
  ];
}

/** Matches a heading such as `Examples:` on its own line. */
function headingOf([first = '']: readonly string[]): string | undefined {
  return /^(\w+):$/.exec(first)?.[1]?.toUpperCase();
}

function listOf(lines: readonly string[]): string[] {
  const items = lines.map(item);
  return items.every(one => one !== undefined) ? items.flat() : example(lines.map(line => line.trimStart()));
}

/** Parses a line such as `  --option VALUE  what it does`; undefined for other lines. */
function item(line: string): string[] | undefined {
  const [, term, meaning] = /^ {2,}(\S.*?) {2,}(\S.*)$/.exec(line) ?? [];
  return term === undefined || meaning === undefined
    ? undefined
    : ['.TP', `.B ${escaped(term)}`, escaped(meaning)];
}

function paragraphs(text: string): string[][] {
  return text.split('\n\n').map(part => part.split('\n').filter(line => line !== ''));
}

/** Writes every page into `folder`. */
function writePages(folder: string): void {
  const about = readFileSync(new URL('package.json', root), 'utf8');
  const { version } = JSON.parse(about) as { version: string };
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(frames)) {
    const [, name, section] = /^(.+)\.(\d)\.md$/.exec(file) ?? [];
    if (name === undefined || section === undefined) continue;
    const frame = readFileSync(new URL(file, frames), 'utf8');
    const help = frame.includes('@options') ? helpOf(name) : '';
    writeFileSync(join(folder, `${name}.${section}`), programPage(name, section, version, frame, help));
  }
  for (const subject of subjects()) {
    const { markdown } = readPage(subject);
    const page = manPage({ name: `pollywog-${subject}`, section: '7', version, markdown });
    writeFileSync(join(folder, `pollywog-${subject}.7`), page);
  }
}

/** What `--help` prints; the page of the server describes each command, too. */
function helpOf(program: string): string {
  if (program === 'pollywog') return fullHelpText(commandSection());
  const path = fileURLToPath(new URL('../client.js', import.meta.url));
  return execFileSync(process.execPath, [path, '--help'], { encoding: 'utf8' }).trimEnd();
}

const [, script, folder] = process.argv;
if (folder !== undefined && import.meta.url === pathToFileURL(script ?? '').href) writePages(folder);
