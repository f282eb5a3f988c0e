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

const notes = `Sizes: 512KB, 16MB. Times: 500ms, 30s, 2m, 1h. 0 switches a limit or timeout
off, except where noted. A FILE may be auto (the usual place) or none.
Options with ... may be repeated. In the environment, --max-message is
POLLYWOG_MAX_MESSAGE. CMD is NAME=COMMAND or NAME:FORMAT=COMMAND, with the
format line, null, length or json.`;

const usage = `pollywog [OPTION]...         start a server
       pollywog COMMAND [WORD]...   control a running server`;

/** The server's `--help`, without a final newline. @param commands lines that list the commands */
export function helpText(commands: readonly string[]): string {
  const listed = ['Commands:', ...commands].join('\n');
  return showHelp({ usage, options: serverOptions, paragraphs: [listed, notes, examples] });
}

/** The page as text, options in table order, without a final newline. */
export function showHelp({ usage, options, paragraphs }: HelpPage): string {
  const entries = Object.entries(options).map(
    ([name, option]) => [optionUsage(name, option), option] as const,
  );
  const column = Math.max(...entries.map(([line]) => line.length)) + 2;
  const lines = [`Usage: ${usage}`, ''];
  let group = '';
  for (const [line, option] of entries) {
    if (option.group !== group) lines.push(`${option.group}:`);
    group = option.group;
    lines.push(line.padEnd(column) + option.help + shownDefault(option));
  }
  return [...lines, ...paragraphs.flatMap(paragraph => ['', paragraph])].join('\n');
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
