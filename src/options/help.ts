/** `--help`: the table of options as text for a terminal of 80 columns. */

import { flagName, type Option, type OptionTable } from './option.ts';
import { serverOptions } from './table.ts';

/** What `--help` of a program prints. */
export interface HelpPage {
  /** How to call it, such as `pollywog [OPTION]...`. */
  readonly usage: string;
  readonly options: OptionTable;
  /** Printed after the options, with an empty line before each. */
  readonly paragraphs: readonly string[];
}

const examples = `Examples:
  pollywog -p 8080 --host 127.0.0.1
  pollywog --listen unix:/run/pollywog.sock --origin https://example.com
  pollywog --default-handler tpacket -p 25021 --data /var/lib/pollywog
  PORT=8080 POLLYWOG_LOG_FORMAT=json pollywog`;

const notes = `Sizes: 512KB, 16MB. Times: 500ms, 30s, 2m, 1h. 0 turns a limit off, except
where noted. A FILE may be auto (the usual place) or none. Options with ... may
be repeated. In the environment, --max-message is POLLYWOG_MAX_MESSAGE. CMD is
NAME=COMMAND or NAME:FORMAT=COMMAND; formats: line, null, length, json.`;

const usage = `pollywog [OPTION]...         start a server
       pollywog COMMAND [WORD]...   control a running server`;

/** Groups of options that `--help` lists only by name, and the commands that describe them. */
const shortGroups: ReadonlyMap<string, string> = new Map([['Testing', 'pollywog help testing']]);

/** The server's `--help`, without a final newline. @param commands the paragraph that lists the commands, with its heading */
export function helpText(commands: readonly string[]): string {
  return serverHelp(commands, shortGroups);
}

/** The server's help with a description of every option, for the man page. */
export function fullHelpText(commands: readonly string[]): string {
  return serverHelp(commands, new Map());
}

function serverHelp(commands: readonly string[], short: ReadonlyMap<string, string>): string {
  const paragraphs = [commands.join('\n'), notes, examples];
  return showHelp({ usage, options: serverOptions, paragraphs }, short);
}

/** The lines of one group of the server's options, without its heading. */
export function groupHelp(group: string): string {
  const entries = Object.entries(serverOptions).filter(([, option]) => option.group === group);
  return optionLines(entries).join('\n');
}

/**
 * The page as text, options in table order, without a final newline.
 * @param short groups of options to list only by name, and the commands that describe them
 */
export function showHelp(
  { usage, options, paragraphs }: HelpPage,
  short: ReadonlyMap<string, string> = new Map(),
): string {
  const groups = new Map<string, [string, Option][]>();
  for (const entry of Object.entries(options)) {
    const { group } = entry[1];
    groups.set(group, [...(groups.get(group) ?? []), entry]);
  }
  const inFull = Object.entries(options).filter(([, { group }]) => !short.has(group));
  const column = optionColumn(inFull);
  const lines = [...groups].flatMap(([group, entries]) => {
    const command = short.get(group);
    return command === undefined
      ? [`${group}:`, ...optionLines(entries, column)]
      : nameLines(group, entries, command);
  });
  return [`Usage: ${usage}`, '', ...lines, ...paragraphs.flatMap(paragraph => ['', paragraph])].join('\n');
}

type Entries = readonly (readonly [string, Option])[];

/** The column where the descriptions begin. */
function optionColumn(entries: Entries): number {
  return Math.max(...entries.map(([name, option]) => optionUsage(name, option).length)) + 2;
}

function optionLines(entries: Entries, column = optionColumn(entries)): string[] {
  return entries.map(
    ([name, option]) => optionUsage(name, option).padEnd(column) + option.help + shownDefault(option),
  );
}

/** Lists only the names: `Testing: --script, --record. See "pollywog help testing".` */
function nameLines(group: string, entries: Entries, command: string): string[] {
  const names = entries.map(([name]) => flagName(name)).join(', ');
  return wrap(`${names}. See "${command}".`, '  ', `${group}: `);
}

function optionUsage(name: string, { short, kind, repeatable }: Option): string {
  const flags = `  ${short === undefined ? '   ' : `-${short},`} ${flagName(name)}`;
  return kind.placeholder === '' ? flags : `${flags} ${kind.placeholder}${repeatable ? '...' : ''}`;
}

function shownDefault(option: Option): string {
  if (option.kind.placeholder === '') return '';
  const values: readonly unknown[] = Array.isArray(option.default) ? option.default : [option.default];
  const shown = values.map(value => option.kind.show(value)).join(', ');
  return shown === '' ? '' : ` [${shown}]`;
}

const lineWidth = 80;

/** Breaks the text into lines. @param indent the indent of all lines but the first @param firstIndent that of the first line */
export function wrap(text: string, indent: string, firstIndent = indent): string[] {
  const lines: string[] = [];
  let line = firstIndent;
  for (const word of text.split(/(?<=\S) (?=\S)/)) {
    const isStart = line === firstIndent || line === indent;
    if (!isStart && line.length + 1 + word.length > lineWidth) {
      lines.push(line);
      line = indent + word;
    } else {
      line += isStart ? word : ` ${word}`;
    }
  }
  return [...lines, line];
}
