/** How the rest of the server asks modules: commands for them, and what there is to say about each. */

import type { Server } from '../../core/server.ts';
import { reportSlow } from '../../diagnostics/slowHandlers.ts';
import { log, stackOf } from '../../log/log.ts';
import { exactClock } from '../../process/clock.ts';
import { callVersion, isPromise } from './handler.ts';
import { slotsOf } from './modules.ts';
import { reasonOf } from './slot.ts';
import { rollBack } from './swap.ts';

/** What `info` tells of a module. */
export interface ModuleState {
  readonly name: string;
  readonly file: string;
  /** The file that the version in charge was loaded from, without links. */
  readonly realPath: string;
  /** Subprotocols, and paths. */
  readonly names: readonly string[];
  readonly wire: string | undefined;
  /** Counted over all modules since the start. */
  readonly version: number;
  readonly loadedAt: string;
  /** `refused` and `rolled back`: what lies in the file is not what runs, and `reason` says why. */
  readonly state: 'running' | 'on probation' | 'refused' | 'rolled back';
  readonly reason: string | undefined;
  readonly connections: number;
  readonly lastError: { readonly at: string; readonly why: string } | undefined;
}

export function moduleStates(server: Server): ModuleState[] {
  return slotsOf(server).map(({ name, file, current, trouble, lastError, peers, wired, wire }) => ({
    name,
    file,
    realPath: current.real,
    names: current.names,
    wire: current.wire === undefined ? undefined : wire.name,
    version: current.number,
    loadedAt: current.loadedAt.toISOString(),
    state: trouble?.what ?? (current.before === undefined ? 'running' : 'on probation'),
    reason: trouble?.why,
    connections: peers.size + wired.size,
    lastError: lastError && { at: lastError.at.toISOString(), why: lastError.why },
  }));
}

/**
 * Gives words to the `command` of a handler.
 * @param name the module's, or one of its handler's
 * @returns what it returns, or its promise resolves to
 * @throws Error, a sentence
 */
export async function callHandler(server: Server, name: string, words: readonly string[]): Promise<unknown> {
  const slots = slotsOf(server);
  const slot = slots.find(one => one.current.names.includes(name)) ?? slots.find(one => one.name === name);
  if (slot === undefined) {
    const known = slots.map(one => one.name).join(', ');
    throw new Error(`there is no module ${name}; ${known === '' ? 'see --handlers' : `there are ${known}`}`);
  }
  const { current, owner } = slot;
  if (current.handler?.command === undefined) throw new Error(`${slot.name} takes no commands`);
  const begun = exactClock();
  try {
    const answer = callVersion(slot, undefined, ({ handler }) => handler?.command?.(words, slot.server));
    reportSlow(begun, owner.configuration.slowHandler);
    return isPromise(answer) ? await within(answer, owner.configuration.handlerTimeout) : answer;
  } catch (error) {
    log('error', 'handler threw', { handler: slot.name, stack: stackOf(error) });
    rollBack(slot, current, error);
    throw new Error(`${slot.name}: ${reasonOf(error)}`);
  }
}

/** @param limit milliseconds; 0: for ever */
async function within(promise: PromiseLike<unknown>, limit: number): Promise<unknown> {
  if (limit === 0) return promise;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limit / 1000} s`)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
