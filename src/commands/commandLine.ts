/** A command line with a command: a few ask nobody, all others are done by the server that runs. */
import { checkConfiguration } from '../options/check.ts';
import type { Environment } from '../options/environment.ts';
import { defaultFile } from '../options/file.ts';
import type { Places } from '../options/places.ts';
import { commandHelp, commandsHelp, ownWordHelp } from './help.ts';
import { knownCommand, print, recall, wordsOf } from './recall.ts';

/**
 * @param argv without node and script
 * @param handlers the names that the option `default` may have
 * @returns the exit code; undefined where there is no command, and so a server is to be started
 * @throws UsageError
 */
export async function obeyCommandLine(
  argv: readonly string[],
  env: Environment,
  usual: Places,
  handlers: readonly string[],
): Promise<number | undefined> {
  const [word, name] = wordsOf(argv);
  switch (word) {
    case undefined:
      return undefined;
    case 'help':
      return print(
        name === undefined ? commandsHelp() : (ownWordHelp(name) ?? commandHelp(knownCommand(name))),
      );
    case 'defaultconfig':
      return print(defaultFile());
    case 'checkconfig':
      return print(checkConfiguration(name, env, handlers, usual.configFiles));
    default:
      return recall(argv, env, usual);
  }
}
