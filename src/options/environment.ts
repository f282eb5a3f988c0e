import type { InheritedAddress } from './addresses.ts';
import { firstInherited } from './addresses.ts';
import { invalidValue, nearest, quoted, UsageError } from './error.ts';
import { bySpelling, type Given, givenTwice, isFlag, type Option } from './option.ts';
import { environmentName, type OptionName, optionEntries } from './table.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const prefix = 'POLLYWOG_';

/** What only a command line can ask for. */
const actions: readonly string[] = ['help', 'version'];

const variables = bySpelling(
  optionEntries.filter(([name]) => !actions.includes(name)),
  environmentName,
);

/**
 * What the environment says, its values not read yet; an empty variable counts as unset. Lists are split on commas, or as
 * their kind says.
 * Throws UsageError for a name with our prefix that is none of ours.
 */
export function readEnvironment(environment: Environment): Map<OptionName, Given> {
  const set = Object.entries(environment).filter(([variable, word]) => word && !isService(variable, word));
  const env: Environment = Object.fromEntries(set);
  for (const [variable] of set) {
    if (variable.startsWith(prefix) && !variables.has(variable)) throw unknownVariable(variable);
  }
  const given = new Map<OptionName, Given>();
  // PORT is what hosting services set; our own name for it comes after, and wins.
  const hosting = [['PORT', variables.get('POLLYWOG_PORT')!]] as const;
  for (const [variable, [name, option]] of [...hosting, ...variables]) {
    const word = env[variable];
    if (!word) continue;
    const before = given.get(name);
    if (before !== undefined && before.label !== 'PORT') throw givenTwice(before.label, variable);
    given.set(name, { label: variable, raw: rawValue(option, word) });
  }
  return given;
}

/** What a word outside the command line stands for, where flags have a value and lists are one word. */
export function rawValue(option: Option, word: string): unknown {
  if (isFlag(option)) return flagWords.get(word) ?? word;
  return option.repeatable ? word.split(option.kind.separator ?? ',').map(part => part.trim()) : word;
}

const flagWords: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false],
]);

/**
 * Kubernetes tells each container of every service by variables that begin with the service's name. Those of one called
 * pollywog, or pollywog-something, begin as ours do, and are no options: `POLLYWOG_PORT=tcp://10.0.0.1:8080`.
 */
function isService(variable: string, word: string): boolean {
  if (/^POLLYWOG(_\w+)?_SERVICE_(HOST|PORT(_\w+)?)$/.test(variable)) return true;
  if (/^POLLYWOG(_\w+)?_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(variable)) return true;
  return /^POLLYWOG(_\w+)?_PORT$/.test(variable) && /^(tcp|udp|sctp):\/\/[\d.:a-f[\]]+:\d+$/.test(word);
}

function unknownVariable(variable: string): UsageError {
  const shown = /^\w{1,60}$/.test(variable) ? variable : quoted(variable);
  const likely = nearest(
    variable.slice(prefix.length),
    [...variables.keys()].map(known => known.slice(prefix.length)),
  );
  const advice = likely ? `did you mean ${prefix}${likely}?` : 'see --help, or unset it';
  return new UsageError(`unknown environment variable ${shown}; ${advice}`);
}

/**
 * Sockets that systemd listens at for us (sd_listen_fds(3)): `LISTEN_FDS` of them, from descriptor 3 on, if they are meant
 * for this process and not for the one that started it. Throws UsageError.
 */
export function inheritedSockets(env: Environment, pid: number): InheritedAddress[] {
  if (env['LISTEN_PID'] !== String(pid)) return [];
  const number = env['LISTEN_FDS'] ?? '';
  if (!/^[0-9]{1,3}$/.test(number)) throw invalidValue('LISTEN_FDS', 'a number of sockets', number);
  return Array.from({ length: Number(number) }, (_, at) => ({
    transport: 'inherited',
    fd: firstInherited + at,
  }));
}
