/** What `help` prints: the commands and the subjects of the manual, or one of them. */
import { readPage, subjects } from '../manual/pages.ts';
import { plainText, terminalText } from '../manual/terminal.ts';
import { nearest, quoted, UsageError } from '../options/error.ts';
import { flagName } from '../options/option.ts';
import { optionEntries } from '../options/table.ts';
import type { Command } from './command.ts';
import { commands, usage } from './commands.ts';

/** These ask no server. */
const ownWords: readonly (readonly [usage: string, help: string])[] = [
  ['help [COMMAND|SUBJECT]', 'the commands, and the pages of the manual'],
  ['defaultconfig', 'a configuration file, all at its default'],
  ['checkconfig [FILE]', "whether a configuration's values are good"],
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

/** The answer to `help WORD`. A command comes before a subject of the same name. @throws UsageError */
export function helpOn(word: string): string {
  const ownHelp = ownWordHelp(word);
  if (ownHelp !== undefined) return ownHelp;
  const command = commands.get(word);
  if (command !== undefined) return commandHelp(command);
  const known = subjects();
  if (known.includes(word)) return terminalText(readPage(word).markdown);
  throw new UsageError(`there is no command or subject ${quoted(word)}; ${adviceOn(word, known)}`);
}

function adviceOn(word: string, known: readonly string[]): string {
  if (optionEntries.some(([name]) => flagName(name) === `--${word}`))
    return 'it is an option: see pollywog --help';
  const own = ownWords.map(([words]) => words.split(' ', 1)[0]!);
  const likely = nearest(word, [...commands.keys(), ...own, ...known]);
  return likely === undefined ? 'pollywog help lists them' : `did you mean ${likely}?`;
}

/** Of a command that asks no server; `undefined` for all others. */
function ownWordHelp(name: string): string | undefined {
  const [words, help] = ownWords.find(([words]) => words.split(' ')[0] === name) ?? [];
  return words === undefined ? undefined : `Usage: pollywog ${words}\n\n  ${help}`;
}

export function commandHelp(command: Command): string {
  const wants = Object.entries(command.parameters).map(
    ([name, { kind, optional, orBytes }]) =>
      `  ${kind.placeholder.padEnd(10)}  ${name}: ${kind.expected}${optional ? ', or nothing' : ''}${orBytes ? '; or bytes, with --binary FILE' : ''}`,
  );
  const columns = Object.keys(command.columns ?? {});
  const gives = columns.length === 0 ? [] : ['', `A row has: ${columns.join(', ')}.`];
  return [
    `Usage: pollywog ${usage(command)}`,
    '',
    `  ${command.help}`,
    ...(wants.length > 0 ? ['', ...wants] : []),
    ...gives,
  ].join('\n');
}
