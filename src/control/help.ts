/** What `help` says: of all commands, or of one. */
import { usage } from './call.ts';
import type { Command } from './command.ts';
import { commands } from './commands.ts';

/** A line each, as they stand in `--help`. */
export function commandLines(): string[] {
  const entries = [...commands.values()].map(command => [usage(command), command.help] as const);
  const width = Math.max(...entries.map(([words]) => words.length));
  return entries.map(([words, help]) => `  ${words.padEnd(width)}  ${help}`);
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
