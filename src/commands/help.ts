/** What `help` says: of all commands, or of one. */

import type { Command } from './command.ts';
import { commands, usage } from './commands.ts';

/** These ask no server. */
const ownWords: readonly (readonly [usage: string, help: string])[] = [
  ['help [COMMAND]', 'the commands, or what one of them takes'],
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

/** The answer to `help` without a word behind it. */
export function commandsHelp(): string {
  return [
    'Usage: pollywog COMMAND [WORD]... [--json] [--control FILE]',
    '',
    ...commandLines(),
    '',
    'pollywog help COMMAND tells what one takes; pollywog --help is about servers.',
  ].join('\n');
}

/** Of a command that asks no server; `undefined` for all others. */
export function ownWordHelp(name: string): string | undefined {
  const [words, help] = ownWords.find(([words]) => words.split(' ')[0] === name) ?? [];
  return words === undefined ? undefined : `Usage: pollywog ${words}\n\n  ${help}`;
}

export function commandHelp(command: Command): string {
  const wants = Object.entries(command.parameters).map(
    ([name, { kind, optional, orBytes }]) =>
      `  ${kind.placeholder.padEnd(10)}  ${name}: ${kind.wants}${optional ? ', or nothing' : ''}${orBytes ? '; or bytes, with --binary FILE' : ''}`,
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
