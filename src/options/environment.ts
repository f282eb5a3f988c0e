/** Options from the environment: `POLLYWOG_*`, `PORT`, and what systemd passes. */

import type { InheritedAddress } from './addresses.ts';
import { firstInherited } from './addresses.ts';
import { invalidValue, nearest, quoted, UsageError } from './error.ts';
import { bySpelling, givenTwice, isFlag, type Option, type RawValue } from './option.ts';
import { environmentName, type OptionName, optionEntries } from './table.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const prefix = 'POLLYWOG_';

/** Options that only print something, for the command line alone. */
const actions: readonly string[] = ['help', 'version'];

const variables = bySpelling(
  optionEntries.filter(([name]) => !actions.includes(name)),
  environmentName,
);

/**
 * The options in the environment. An empty variable counts as unset. Lists are split at commas, or at their kind's
 * separator.
 * @throws UsageError for an unknown variable with our prefix
 */
export function readEnvironment(environment: Environment): Map<OptionName, RawValue> {
  const set = Object.entries(environment).filter(([variable, word]) => word && !isService(variable, word));
  const env: Environment = Object.fromEntries(set);
  for (const [variable] of set) {
    if (variable.startsWith(prefix) && !variables.has(variable)) throw unknownVariable(variable);
  }
  const given = new Map<OptionName, RawValue>();
  // Hosting services set PORT. POLLYWOG_PORT overrides it.
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

/** The raw value of a word outside the command line, where flags have a value and lists are one word. */
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
 * Kubernetes describes every service to each container, in variables that start with the service's name. Those of a service
 * called pollywog, or pollywog-something, are not options: `POLLYWOG_PORT=tcp://10.0.0.1:8080`.
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
 * Listening sockets passed by systemd (sd_listen_fds(3)): `LISTEN_FDS` of them, from descriptor 3 on, if `LISTEN_PID` names
 * this process.
 * @throws UsageError
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
