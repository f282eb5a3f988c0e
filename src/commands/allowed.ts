/** `pollywog allowed USER PATH`: which rule of the configuration decides each right. It asks no server. */
import type { Identity } from '../access/records.ts';
import { decide } from '../access/rights.ts';
import { userFault } from '../access/users.ts';
import type { Arguments } from '../options/arguments.ts';
import { type Environment, readEnvironment } from '../options/environment.ts';
import { quoted, UsageError } from '../options/error.ts';
import { chooseFile, readFile } from '../options/file.ts';
import { type OptionTable, readValues } from '../options/option.ts';
import { type Right, rights } from '../options/rules.ts';
import { serverOptions } from '../options/table.ts';
import { percentDecode } from '../protocol/http/path.ts';
import { type Pattern, parsePattern } from '../protocol/pattern.ts';
import { wordOptions } from './commands.ts';

export const allowedOptions = {
  allow: serverOptions.allow,
  config: serverOptions.config,
  json: wordOptions.json,
} as const satisfies OptionTable;

const usage = 'usage: pollywog allowed USER PATH; USER is - for a client without a user';

/**
 * @param usualFiles the places of a configuration file, if `--config` names none
 * @returns a line for each right, or JSON
 * @throws UsageError
 */
export function showAllowed(
  { given, words }: Arguments<string>,
  env: Environment,
  usualFiles: readonly string[],
): string {
  const [user, path, extra] = words;
  if (user === undefined || path === undefined || extra !== undefined) throw new UsageError(usage);
  const fault = user === '-' ? undefined : userFault(user);
  if (fault !== undefined) throw new UsageError(`${quoted(user)} is not a user: ${fault}`);
  const decoded = path.startsWith('/') && !path.includes('?') ? percentDecode(path) : undefined;
  if (decoded === undefined)
    throw new UsageError(`${quoted(path)} is not the path of a URL, such as /channels/news or /echo`);

  const sources = [given, readEnvironment(env)];
  const configFile = chooseFile(readValues({ config: allowedOptions.config }, sources).config, usualFiles);
  if (configFile !== undefined) sources.push(readFile(configFile));
  const { allow, json } = readValues(allowedOptions, sources);
  const answers = rights.map(right => answer({ rules: allow }, right, decoded, user));
  if (json) return JSON.stringify(answers);
  const width = Math.max(...answers.map(({ allowed }) => allowed.length));
  return answers
    .map(({ right, allowed, rule }) => `${right.padEnd(9)}  ${allowed.padEnd(width)}  ${rule}`)
    .join('\n');
}

interface Answer {
  readonly right: Right;
  readonly allowed: string;
  /** The line of `--allow` that decides, or the default. */
  readonly rule: string;
}

function answer(access: Parameters<typeof decide>[0], right: Right, path: string, user: string): Answer {
  const ask = (granted: readonly Pattern[], isSubscriber: boolean) =>
    decide(access, right, path, user === '-' ? undefined : userWith(user, granted), isSubscriber);
  const { isAllowed, rule, who } = ask([], false);
  const allowed = () => {
    if (isAllowed) return 'yes';
    if (ask([everything], false).isAllowed) return 'if granted';
    if (ask([everything], true).isAllowed) return 'if subscribed';
    return who === 'commands' ? 'with the API or publish token' : 'no';
  };
  return { right, allowed: allowed(), rule: rule === 'default' ? `default: ${right}=${who}` : rule };
}

const everything = parsePattern('**') as Pattern;

function userWith(user: string, granted: readonly Pattern[]): Identity {
  return { user, means: 'app', subscribe: granted, publish: granted, expiresAt: undefined };
}
