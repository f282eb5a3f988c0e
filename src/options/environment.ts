import { quoted, UsageError } from './error.ts';
import { nearest } from './nearest.ts';
import { type Given, isFlag } from './option.ts';
import { environmentName, type OptionName, optionEntries } from './table.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const prefix = 'POLLYWOG_';

const variables = new Map(
  optionEntries
    .filter(([, option]) => !isFlag(option))
    .map(([name, { repeatable }]) => [environmentName(name), { name, repeatable }] as const),
);

/**
 * What the environment says, its values not read yet; an empty variable counts as unset. Lists are split on commas.
 * Throws UsageError for a name with our prefix that is none of ours.
 */
export function readEnvironment(env: Environment): Map<OptionName, Given> {
  for (const [variable, word] of Object.entries(env)) {
    if (variable.startsWith(prefix) && word && !variables.has(variable)) throw unknownVariable(variable);
  }
  const given = new Map<OptionName, Given>();
  // PORT is what hosting services set; our own name for it comes after, and wins.
  const serviceVariables = [['PORT', { name: 'port', repeatable: true }]] as const;
  for (const [variable, { name, repeatable }] of [...serviceVariables, ...variables]) {
    const word = env[variable];
    if (!word) continue;
    const raw = repeatable ? word.split(',').map(part => part.trim()) : word;
    given.set(name, { label: variable, raw });
  }
  return given;
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
