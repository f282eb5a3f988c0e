/** `pollywog allowed USER PATH`: which rule of the configuration decides each right. It asks no server. */
import { connectNeed, fileNeeds } from '../access/needs.ts';
import type { Identity } from '../access/records.ts';
import { decideNeed } from '../access/rights.ts';
import { userFault } from '../access/users.ts';
import type { Arguments } from '../options/arguments.ts';
import { type Environment, readEnvironment } from '../options/environment.ts';
import { quoted, UsageError } from '../options/error.ts';
import { chooseFile, readFile } from '../options/file.ts';
import { type OptionTable, readValues } from '../options/option.ts';
import { type Right, rights } from '../options/rules.ts';
import { serverOptions } from '../options/table.ts';
import { ProtocolError } from '../protocol/codes.ts';
import { firstSegment, percentDecode } from '../protocol/http/path.ts';
import { type Pattern, parsePattern } from '../protocol/pattern.ts';
import type { Need } from '../records/identity.ts';
import { folderPage, readSitePath } from '../wires/static/site.ts';
import { wordOptions } from './commands.ts';

export const allowedOptions = {
  allow: serverOptions.allow,
  config: serverOptions.config,
  json: wordOptions.json,
} as const satisfies OptionTable;

const usage = 'usage: pollywog allowed USER PATH; USER is - for a client without a user';

/** Options that distinguish the paths of handlers from those of a site's files. */
const pathOptions = {
  static: serverOptions.static,
  exec: serverOptions.exec,
  execShared: serverOptions.execShared,
  script: serverOptions.script,
  faults: serverOptions.faults,
  inspect: serverOptions.inspect,
} as const satisfies OptionTable;

/**
 * @param usualFiles the places of a configuration file, if `--config` names none
 * @param handlers the names of the built-in handlers
 * @returns a line for each right, or JSON
 * @throws UsageError
 */
export function showAllowed(
  { given, words }: Arguments<string>,
  env: Environment,
  usualFiles: readonly string[],
  handlers: readonly string[],
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
  const site = readValues(pathOptions, sources);
  const programs = [...site.exec, ...site.execShared].map(({ name }) => name);
  const handler = firstSegment(decoded);
  const off = [
    ...(site.script === '' ? ['script'] : []),
    ...(site.faults ? [] : ['faulty', 'replay']),
    ...(site.inspect ? [] : ['inspect']),
  ];
  const isHandler = [...handlers, ...programs].includes(handler) && !off.includes(handler);
  const isFile = site.static !== '' && !isHandler;
  const answers = rights.map(right => {
    const needs =
      right === 'connect' ? connectNeeds(path, isFile ? undefined : handler) : [{ right, path: decoded }];
    return answer({ rules: allow }, right, needs, user);
  });
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

/**
 * The rights that the server requires for this path.
 * @param handler undefined: it is the path of a file
 * @throws UsageError if the server refuses every request for the path
 */
function connectNeeds(path: string, handler: string | undefined): readonly Need[] {
  try {
    return handler === undefined ? fileNeeds(readSitePath(path), folderPage) : [connectNeed(handler, path)];
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new UsageError(`the server refuses ${quoted(path)} with ${error.code}: ${error.message}`);
  }
}

function answer(
  access: Parameters<typeof decideNeed>[0],
  right: Right,
  needs: readonly Need[],
  user: string,
): Answer {
  const ask = (granted: readonly Pattern[], isSubscriber: boolean) => {
    const identity = user === '-' ? undefined : userWith(user, granted);
    const decisions = needs.map(need => decideNeed(access, { ...need, isSubscriber }, identity));
    return decisions.find(({ isAllowed }) => !isAllowed) ?? decisions[0]!;
  };
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
