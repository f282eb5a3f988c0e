/** Changes the configuration of a running server. Everything is checked before anything changes. */

import { type LogFields, log } from '../log/log.ts';
import { type Configuration, optionsFor, withValues } from '../options/configuration.ts';
import { rawValue } from '../options/environment.ts';
import { nearest, quoted, UsageError } from '../options/error.ts';
import { bySpelling, hyphenated, readOption, showOptionValue } from '../options/option.ts';
import { type OptionName, type OptionValues, optionEntries } from '../options/table.ts';
import { notify, notifyReloading } from '../process/announce.ts';
import type { Server } from '../records/records.ts';

/** Each entry reads like `max-message 16MB → 1MB`. */
export interface Changes {
  readonly changed: readonly string[];
  /** Changes in the configuration that take effect only when the server is started again. */
  readonly needsRestart: readonly string[];
}

export interface Setting {
  readonly name: string;
  readonly value: string;
  /** Whether `setOption` can change it. */
  readonly isLive: boolean;
  readonly isSetByHand: boolean;
}

interface ChangeQueue {
  /** Changes run one at a time: the next one begins when this one is settled. */
  last: Promise<unknown>;
  /** A reload that has not begun. Further requests join it: it reads the configuration when it begins. */
  pendingReload: Promise<Changes> | undefined;
}

const queues = new WeakMap<Server, ChangeQueue>();

function queueOf(server: Server): ChangeQueue {
  let queue = queues.get(server);
  if (queue === undefined) {
    queue = { last: Promise.resolve(), pendingReload: undefined };
    queues.set(server, queue);
  }
  return queue;
}

/**
 * Reads the configuration again and applies it, which also replaces values set by hand.
 * @param readAgain reads the configuration from the same sources as at the start
 * @throws Error, a sentence; then nothing has changed
 */
export function reloadConfiguration(server: Server, readAgain: () => Configuration): Promise<Changes> {
  const queue = queueOf(server);
  queue.pendingReload ??= enqueueChange(queue, async () => {
    queue.pendingReload = undefined;
    notifyReloading();
    try {
      return await applyValues(server, readAgain().values, new Set());
    } finally {
      notify('READY=1');
    }
  });
  return queue.pendingReload;
}

/**
 * Sets one option until the next reload.
 * @param name its long name
 * @param word as in the environment: `true` or `false` for a flag, several values separated by commas
 * @throws UsageError if the option is unknown, needs a restart, or cannot have this value
 */
export function setOption(server: Server, name: string, word: string): Promise<Changes> {
  return enqueueChange(queueOf(server), async () => {
    const option = findLive(name);
    const kindOf = optionsFor([...server.handlers.keys()])[option];
    const value = readOption(kindOf, { label: name, raw: rawValue(kindOf, word) });
    const { values, setByHand } = server.configuration;
    return applyValues(server, { ...values, [option]: value }, new Set([...setByHand, option]));
  });
}

/**
 * Every option in the order of the table, or only the one with this long name.
 * @throws UsageError if it is unknown
 */
export function listSettings({ configuration: { values, setByHand } }: Server, wanted?: string): Setting[] {
  const entries = wanted === undefined ? configurable : [findOption(wanted)];
  return entries.map(([name, option]) => ({
    name: hyphenated(name),
    value: showOptionValue(option, values[name]),
    isLive: option.needsRestart === undefined,
    isSetByHand: setByHand.has(name),
  }));
}

/** All options except those that only work on the command line. */
const configurable = optionEntries.filter(([name]) => name !== 'help' && name !== 'version');

const byName = bySpelling(configurable);

function findOption(name: string): (typeof configurable)[number] {
  const found = byName.get(name);
  if (found !== undefined) return found;
  const known = configurable.map(([one]) => hyphenated(one));
  const likely = nearest(name, known);
  throw new UsageError(
    `unknown option ${quoted(name)}; ${likely ? `did you mean ${likely}?` : 'get lists them all'}`,
  );
}

function findLive(name: string): OptionName {
  const [option, { needsRestart }] = findOption(name);
  if (needsRestart)
    throw new UsageError(
      `${name} cannot change while the server runs; change the configuration and restart the server`,
    );
  return option;
}

function enqueueChange(queue: ChangeQueue, act: () => Promise<Changes>): Promise<Changes> {
  const change = queue.last.then(act);
  queue.last = change.catch(() => {});
  return change;
}

async function applyValues(
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

/** Keeps the current values of the options that need a restart. */
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
    const note = setByHand.has(name) ? ' (set by hand)' : '';
    return [`${hyphenated(name)} ${from || 'none'}${note} → ${to || 'none'}`];
  });
}

/** Logs the outcome: nobody waits for this reload. Never rejects. */
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

/** For the log. */
export function changeFields({ changed, needsRestart }: Changes): LogFields {
  const restart = needsRestart.length === 0 ? undefined : needsRestart.join('; ');
  return { changed: changed.join('; ') || 'nothing', needsRestart: restart };
}
