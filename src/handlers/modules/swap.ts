/** One version takes over from another, and, while it is on probation, may have to give back what it took. */
import { scheduleTurn } from '../../core/poll.ts';
import { log, stackOf } from '../../log/log.ts';
import { withoutEffects } from './effects.ts';
import type * as user from './interface.ts';
import { hrefOf } from './load.ts';
import { noteError, reasonOf, type Slot, type Version } from './slot.ts';

/** The slot's first version begins. */
export function begin(slot: Slot, state: unknown): void {
  slot.server.state = state;
  takeNames(slot);
  startTicking(slot);
}

/**
 * The next version has all connections from now on, with their data, and the module's state.
 * @returns what went wrong in its `swap`, and then nothing changed
 */
export function takeOver(slot: Slot, next: Version): string | undefined {
  const { server, current: old } = slot;
  const { state } = server;
  try {
    server.state = withoutEffects(() => nextState(next, state, server));
  } catch (error) {
    server.state = state;
    return `its swap threw ${reasonOf(error)}`;
  }
  slot.current = next;
  slot.hrefs.add(hrefOf(next.real));
  slot.trouble = undefined;
  takeNames(slot);
  startTicking(slot);
  const { rollbackWindow } = slot.owner.configuration;
  if (rollbackWindow > 0) {
    next.before = { version: old, state };
    setTimeout(() => endProbation(slot, next, old), rollbackWindow).unref();
  } else {
    stopVersion(slot, old);
  }
  const { number: version, real: file } = next;
  log('info', 'handler swapped', { handler: slot.name, version, connections: slot.peers.size, file });
  return undefined;
}

function nextState(version: Version, old: unknown, server: user.Server): unknown {
  const { handler } = version;
  const adapted: unknown = handler?.swap?.(old, server);
  version.hasOwnState = adapted !== undefined;
  if (version.hasOwnState) return adapted;
  return old === undefined ? handler?.state?.() : old;
}

/** Unless the version gave back before what it took, or all were stopped. */
function endProbation(slot: Slot, version: Version, old: Version): void {
  if (version.before === undefined) return;
  version.before = undefined;
  stopVersion(slot, old);
}

/** The version in charge is not called any more, nor are those that could have taken over again. */
export function stopAll(slot: Slot): void {
  clearInterval(slot.timer);
  for (let version: Version | undefined = slot.current; version !== undefined; ) {
    const before: Version | undefined = version.before?.version;
    version.before = undefined;
    stopVersion(slot, version);
    version = before;
  }
}

/** Of a module that was removed, the last connection is gone. */
export function stopIfOver(slot: Slot): void {
  if (slot.isRemoved && slot.peers.size + slot.wired.size === 0) stopVersion(slot, slot.current);
}

/** It is never called again. */
export function stopVersion(slot: Slot, { handler }: Version): void {
  try {
    handler?.stopped?.();
  } catch (error) {
    noteError(slot, error);
    log('error', 'handler threw', { handler: slot.name, stack: stackOf(error) });
  }
}

/**
 * Calls the version in charge. While that is on probation, what it does takes effect when it has returned; if it throws,
 * the version before takes over again, and is called instead.
 */
export function attempt<T>(slot: Slot, call: (version: Version) => T): T {
  for (;;) {
    const version = slot.current;
    if (version.before === undefined) return call(version);
    try {
      return withoutEffects(() => call(version));
    } catch (error) {
      rollBack(slot, version, error);
    }
  }
}

/** Does nothing where that version is not in charge, or not on probation, any more. */
export function rollBack(slot: Slot, version: Version, error: unknown): void {
  const { before, number } = version;
  if (slot.current !== version || before === undefined) return;
  noteError(slot, error);
  slot.trouble = { what: 'rolled back', why: slot.lastError?.why ?? '', at: new Date() };
  version.isTakenBack = true;
  version.before = undefined;
  slot.current = before.version;
  // Where it was not made anew by `swap`, all there is to it has been kept up to date.
  if (version.hasOwnState) slot.server.state = before.state;
  takeNames(slot);
  startTicking(slot);
  const to = before.version.number;
  log('error', 'handler rolled back', { handler: slot.name, version: number, to, stack: stackOf(error) });
  stopVersion(slot, version);
}

/** Newcomers find the module by the names of its current version. */
function takeNames(slot: Slot): void {
  const { handlers } = slot.owner;
  dropNames(slot);
  for (const name of slot.current.names) if (!handlers.has(name)) handlers.set(name, slot.handler);
}

export function dropNames({ owner: { handlers }, handler }: Slot): void {
  for (const [name, one] of handlers) if (one === handler) handlers.delete(name);
}

const usualTick = 1000;

function startTicking(slot: Slot): void {
  clearInterval(slot.timer);
  slot.timer = undefined;
  const { handler } = slot.current;
  if (handler?.tick === undefined) return;
  slot.timer = setInterval(() => {
    slot.isTickDue = true;
    scheduleTurn(slot.owner);
  }, handler.tickEvery ?? usualTick).unref();
}
