/** What `help` prints: the commands and the subjects of the manual, or one of them. */
import { readPage, subjects } from '../manual/pages.ts';
import { plainText, terminalText } from '../manual/terminal.ts';
import { nearest, quoted, UsageError } from '../options/error.ts';
import { flagName } from '../options/option.ts';
import { optionEntries } from '../options/table.ts';
import type { Command, Parameter } from './command.ts';
import { commands, usage } from './commands.ts';

/** Commands that need no running server. */
const ownWords: readonly (readonly [usage: string, help: string])[] = [
  ['help [COMMAND|SUBJECT]', 'print a command or a page of the manual'],
  ['defaultconfig', 'print a configuration with all defaults'],
  ['checkconfig [FILE]', 'check the values of a configuration'],
  ['check URL', 'find what is wrong on the way to a server'],
  ['allowed USER PATH', "print which lines decide a user's rights"],
];

/** A line each, as they stand in `--help`. */
export function commandLines(): string[] {
  const asked = [...commands.values()].map(command => [usage(command), command.help] as const);
  const entries = [...asked, ...ownWords];
  const width = Math.max(...entries.map(([words]) => words.length));
  return entries.map(([words, help]) => `  ${words.padEnd(width)}  ${help}`);
}

/** The answer to `help` without a word. */
export function helpOverview(): string {
  const pages = subjects().map(readPage);
  const width = Math.max(...pages.map(({ subject }) => subject.length));
  return [
    'Usage: pollywog COMMAND [WORD]... [--json] [--control FILE]',
    '',
    ...commandLines(),
    '',
    'Subjects of the manual:',
    ...pages.map(({ subject, summary }) => `  ${subject.padEnd(width)}  ${plainText(summary)}`),
    '',
    'pollywog help COMMAND prints what a command takes; pollywog help SUBJECT prints',
    'a page of the manual; pollywog --help lists the options of the server.',
  ].join('\n');
}

/** The answer to `help WORD`. A command comes before the page of the same name. @throws UsageError */
export function helpOn(word: string): string {
  const ownHelp = ownWordHelp(word);
  if (ownHelp !== undefined) return ownHelp;
  const command = commands.get(word);
  const known = subjects();
  const page = known.includes(word) ? terminalText(readPage(word).markdown) : undefined;
  if (command !== undefined)
    return [commandHelp(command), ...(page === undefined ? [] : [page])].join('\n\n');
  if (page !== undefined) return page;
  throw new UsageError(`unknown command or subject ${quoted(word)}; ${adviceOn(word, known)}`);
}

function adviceOn(word: string, known: readonly string[]): string {
  if (optionEntries.some(([name]) => flagName(name) === `--${word}`))
    return 'it is an option: see pollywog --help';
  const own = ownWords.map(([words]) => words.split(' ', 1)[0]!);
  const likely = nearest(word, [...commands.keys(), ...own, ...known]);
  return likely === undefined ? 'pollywog help lists them all' : `did you mean ${likely}?`;
}

/** Of a command that asks no server; `undefined` for all others. */
function ownWordHelp(name: string): string | undefined {
  const [words, help] = ownWords.find(([words]) => words.split(' ')[0] === name) ?? [];
  return words === undefined ? undefined : `Usage: pollywog ${words}\n\n  ${help}`;
}

export function commandHelp(command: Command): string {
  const { help, details, columns, isReadOnly } = command;
  const parameters = Object.entries(command.parameters);
  const sections = [[`  ${help}`, ...(details === undefined ? [] : ['', ...wrap(details, '  ')])]];
  if (parameters.length > 0) {
    const entries = parameters.flatMap(([name, { kind, optional, isOption, orBytes }]) => {
      if (isOption) return optionHelp(name, kind);
      const notes = `${orBytes ? ', or bytes with --binary FILE' : ''}${optional ? ' (optional)' : ''}`;
      return wrap(`${kind.placeholder.padEnd(10)}  ${name}: ${kind.expected}${notes}`, ' '.repeat(14), '  ');
    });
    sections.push(['Parameters, each with its name in JSON and forms:', ...entries]);
  }
  if (isReadOnly) sections.push(['  It only looks, so the token of --read-token allows it.']);
  if (columns !== undefined) {
    sections.push(wrap(`Columns, and fields with --json: ${Object.keys(columns).join(', ')}.`, '  ', ''));
  }
  return [`Usage: pollywog ${usage(command)}`, ...sections.map(lines => lines.join('\n'))].join('\n\n');
}

function optionHelp(name: string, { placeholder, expected }: Parameter['kind']): string[] {
  const words = placeholder === '' ? flagName(name) : `${flagName(name)} ${placeholder}`;
  return wrap(`${words.padEnd(10)}  ${name}: ${expected} (optional)`, ' '.repeat(14), '  ');
}

const lineWidth = 80;

/** Breaks the text into lines. @param firstIndent of the first line; `indent` is that of the others */
function wrap(text: string, indent: string, firstIndent = indent): string[] {
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
