/** The configuration is changed while the server runs: all of it is checked first, then all of it is put in place. */
import type { Server } from '../core/server.ts';
import { type LogFields, log } from '../log/log.ts';
import { type Configuration, optionsFor, withValues } from '../options/configuration.ts';
import { rawValue } from '../options/environment.ts';
import { nearest, quoted, UsageError } from '../options/error.ts';
import { bySpelling, hyphenated, readOption, showOptionValue } from '../options/option.ts';
import { type OptionName, type OptionValues, optionEntries } from '../options/table.ts';
import { notify, notifyReloading } from '../process/announce.ts';

/** A sentence each: `max-message 16MB → 1MB`. */
export interface Changes {
  readonly changed: readonly string[];
  /** What is otherwise in the configuration than it is here, and stays so until the server is started again. */
  readonly needsRestart: readonly string[];
}

export interface Setting {
  readonly name: string;
  readonly value: string;
  /** Whether `change` can change it. */
  readonly isLive: boolean;
  readonly isSetByHand: boolean;
}

/** One change at a time: the next begins when this is settled. */
let running: Promise<unknown> = Promise.resolve();
/** A reload that has not begun: whoever asks for another gets this one, as it reads what is there when it begins. */
let waiting: Promise<Changes> | undefined;

/**
 * Reads the configuration again and puts it in place. What was set by hand is as the configuration says after that.
 * @param readAgain reads the configuration from where it was read at the start
 * @throws Error, a sentence; then nothing has changed
 */
export function reloadConfiguration(server: Server, readAgain: () => Configuration): Promise<Changes> {
  waiting ??= oneAtATime(async () => {
    waiting = undefined;
    notifyReloading();
    try {
      return await replace(server, readAgain().values, new Set());
    } finally {
      notify('READY=1');
    }
  });
  return waiting;
}

/**
 * Sets one option until the next reload.
 * @param name its long name
 * @param word as in the environment: `true` or `false` for a flag, commas between several values
 * @throws UsageError where there is no such option, it cannot have this value, or not before a restart
 */
export function change(server: Server, name: string, word: string): Promise<Changes> {
  return oneAtATime(async () => {
    const option = findLive(name);
    const kindOf = optionsFor([...server.handlers.keys()])[option];
    const value = readOption(kindOf, { label: name, raw: rawValue(kindOf, word) });
    const { values, setByHand } = server.configuration;
    return replace(server, { ...values, [option]: value }, new Set([...setByHand, option]));
  });
}

/**
 * Every option as it is now, in the order of the table; or the one of this long name.
 * @throws UsageError where there is none of this name
 */
export function settings({ configuration: { values, setByHand } }: Server, wanted?: string): Setting[] {
  const entries = wanted === undefined ? configurable : [findOption(wanted)];
  return entries.map(([name, option]) => ({
    name: hyphenated(name),
    value: showOptionValue(option, values[name]),
    isLive: option.needsRestart === undefined,
    isSetByHand: setByHand.has(name),
  }));
}

/** These are no options of a server that runs. */
const configurable = optionEntries.filter(([name]) => name !== 'help' && name !== 'version');

const byName = bySpelling(configurable);

function findOption(name: string): (typeof configurable)[number] {
  const found = byName.get(name);
  if (found !== undefined) return found;
  const known = configurable.map(([one]) => hyphenated(one));
  const likely = nearest(name, known);
  throw new UsageError(`there is no option ${quoted(name)}${likely ? `; did you mean ${likely}?` : ''}`);
}

function findLive(name: string): OptionName {
  const [option, { needsRestart }] = findOption(name);
  if (needsRestart)
    throw new UsageError(`${name} cannot be changed while the server runs; it takes a restart`);
  return option;
}

function oneAtATime(act: () => Promise<Changes>): Promise<Changes> {
  const settled = running.then(act);
  running = settled.catch(() => {});
  return settled;
}

async function replace(
  server: Server,
  wanted: OptionValues,
  setByHand: ReadonlySet<OptionName>,
): Promise<Changes> {
  const before = server.configuration;
  const next = withValues(before, onlyLive(before.values, wanted), setByHand);
  const commits: (() => readonly string[])[] = [];
  for (const reloadable of server.reloadables) commits.push(await reloadable.prepare(next));
  server.configuration = next;
  return {
    changed: [...differences(before, next.values), ...commits.flatMap(commit => commit())],
    needsRestart: differences(next, wanted),
  };
}

/** What needs a restart stays as it was. */
function onlyLive(before: OptionValues, wanted: OptionValues): OptionValues {
  const kept = optionEntries
    .filter(([, { needsRestart }]) => needsRestart)
    .map(([name]) => [name, before[name]]);
  return { ...wanted, ...Object.fromEntries(kept) };
}

function differences({ values: before, setByHand }: Configuration, after: OptionValues): string[] {
  return configurable.flatMap(([name, option]) => {
    const [from, to] = [showOptionValue(option, before[name]), showOptionValue(option, after[name])];
    if (from === to) return [];
    const note = setByHand.has(name) ? ', which was set by hand' : '';
    return [`${hyphenated(name)} ${from || 'none'}${note} → ${to || 'none'}`];
  });
}

/** Says in the log what came of a reload that nobody waits for. Never fails. */
export async function reloadAndLog(
  server: Server,
  readAgain: () => Configuration,
  via: string,
): Promise<void> {
  try {
    log('info', 'reloaded', { ...changeFields(await reloadConfiguration(server, readAgain)), via });
  } catch (error) {
    log('error', 'reload failed', { reason: (error as Error).message, via });
  }
}

/** As the log has them. */
export function changeFields({ changed, needsRestart }: Changes): LogFields {
  const restart = needsRestart.length === 0 ? undefined : needsRestart.join('; ');
  return { changed: changed.join('; ') || 'nothing', needsRestart: restart };
}
