/**
 * Makes a manual page (man(7)) of a text and of what a program's `--help` says, so that there is one place where options are
 * described: their table.
 *
 *     node dist/server.js --help | node dist/install/manual.js src/install/pollywog.1.txt > pollywog.1
 *
 * The text is as one would write it by hand: headings in capitals, paragraphs with an empty line between them, lists of
 * `  term  what it is`, and examples that are indented by four. `@synopsis` and `@options` stand for what `--help` says.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What roff would take for its own. The hyphens of options are to be copied from a terminal as they are. */
function plain(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq')
    .replace(/^([.'])/, '\\&$1');
}

function item(line: string): string[] | undefined {
  const [, term, what] = /^ {2,}(\S.*?) {2,}(\S.*)$/.exec(line) ?? [];
  return term === undefined || what === undefined ? undefined : ['.TP', `.B ${plain(term)}`, plain(what)];
}

function block(lines: readonly string[]): string[] {
  if (lines.every(line => line.startsWith('    '))) return example(lines.map(line => line.slice(4)));
  const items = lines.map(item);
  return items.every(one => one !== undefined) ? items.flat() : ['.PP', ...lines.map(plain)];
}

function example(lines: readonly string[]): string[] {
  return ['.PP', '.in +4n', '.EX', ...lines.map(plain), '.EE', '.in'];
}

/** Headings of groups, each with its options. */
function optionBlock(lines: readonly string[]): string[] {
  return lines.flatMap(line => item(line) ?? [`.SS ${plain(line.replace(/:$/, ''))}`]);
}

function blocks(text: string): string[][] {
  const parts = text.replaceAll('\r', '').split(/\n{2,}/);
  return parts.map(part => part.split('\n').filter(line => line !== '')).filter(lines => lines.length > 0);
}

/** How it is called: `pollywog [OPTION]...`, and behind that, where there are several ways, what each does. */
function synopsis(help: string): string[] {
  const [usage = []] = blocks(help);
  const calls = usage.map(line => `  ${line.replace(/^Usage: /, '').trimStart()}`);
  return ['.SH SYNOPSIS', ...calls.flatMap(call => item(call) ?? `.B ${plain(call.trimStart())}`)];
}

/** OPTIONS, with the notes behind them; then what has a heading of its own, such as EXAMPLES. */
function optionSections(help: string): string[] {
  const [, options = [], ...rest] = blocks(help);
  const headed = rest.filter(lines => headingOf(lines) !== undefined);
  const notes = rest.filter(lines => headingOf(lines) === undefined);
  return [
    ...['.SH OPTIONS', ...optionBlock(options)],
    // Behind a list, a paragraph would be taken for a part of its last item.
    ...['.SS Notes', ...notes.flatMap(block)],
    ...headed.flatMap(lines => [`.SH ${headingOf(lines)}`, ...listOf(lines.slice(1))]),
  ];
}

/** `Examples:` on a line of its own. */
function headingOf([first = '']: readonly string[]): string | undefined {
  return /^(\w+):$/.exec(first)?.[1]?.toUpperCase();
}

function listOf(lines: readonly string[]): string[] {
  const items = lines.map(item);
  return items.every(one => one !== undefined) ? items.flat() : example(lines.map(line => line.trimStart()));
}

/** @param name such as `pollywog` @param section such as `1` @param version of the program */
export function manual(name: string, section: string, version: string, text: string, help: string): string {
  const body = blocks(text).flatMap(lines => {
    const [first = '', ...rest] = lines;
    if (first === '@synopsis') return synopsis(help);
    if (first === '@options') return optionSections(help);
    const isHeading = /^[A-Z][A-Z ]+$/.test(first);
    if (!isHeading) return block(lines);
    return [`.SH ${first}`, ...(rest.length === 0 ? [] : first === 'NAME' ? rest.map(plain) : block(rest))];
  });
  const title = `.TH ${plain(name.toUpperCase())} ${section} "" "Pollywog ${version}"`;
  return `${[title, ...body].join('\n')}\n`;
}

/** `src/install/pollywog.1.txt` is the page pollywog(1). */
function printManual(path: string): void {
  const [, name, section] = /^(.+)\.(\d)\.txt$/.exec(basename(path)) ?? [];
  if (name === undefined || section === undefined) throw new Error(`${path}: no NAME.SECTION.txt`);
  const about = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(about) as { version: string };
  const text = readFileSync(path, 'utf8');
  const help = text.includes('@options') ? readFileSync(0, 'utf8') : '';
  process.stdout.write(manual(name, section, version, text, help));
}

const [, script, path] = process.argv;
if (path !== undefined && import.meta.url === pathToFileURL(script ?? '').href) printManual(path);
