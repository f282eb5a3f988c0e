/** A module of the user's: its versions, one after the other, and what outlives them. */
import type { Connection } from '../../core/connection.ts';
import type { Group } from '../../core/group.ts';
import type { Handler } from '../../core/handler.ts';
import { scheduleTurn } from '../../core/poll.ts';
import type { Server } from '../../core/server.ts';
import type { Wire } from '../../core/wire.ts';
import { log, stackOf } from '../../log/log.ts';
import { withoutEffects } from './callScope.ts';
import type { Peer } from './facade.ts';
import type * as user from './interface.ts';
import { hrefOf } from './load.ts';

/** What one state of the file exports. */
export interface Version {
  /** Counted over all that were tried. */
  readonly number: number;
  /** The file that it was loaded from, without links, and the hash of its content. */
  readonly real: string;
  readonly digest: string;
  readonly loadedAt: Date;
  readonly names: readonly string[];
  readonly handler: user.Handler | undefined;
  readonly wire: user.Wire | undefined;
  /** While this one is on probation: whoever takes over again if it throws, and with what. */
  before: { readonly version: Version; readonly state: unknown } | undefined;
  /** Its `swap` made a state of its own out of the one before. */
  hasOwnState: boolean;
  /** It threw, and is out of charge. */
  isTakenBack: boolean;
}

export interface Trouble {
  readonly what: 'refused' | 'rolled back';
  readonly why: string;
  readonly at: Date;
}

/** What is awaited for a connection. */
export interface Pending {
  readonly connection: Connection;
  readonly since: number;
}

export interface Slot {
  /** The file's name without its extension: what the log calls it. */
  readonly name: string;
  /** Its path as the user wrote it, for sentences. */
  file: string;
  readonly owner: Server;
  /** The URLs of all files that versions were loaded from. */
  readonly hrefs: Set<string>;
  current: Version;
  /** Why the file's last state is not the current version. */
  trouble: Trouble | undefined;
  lastError: { readonly why: string; readonly at: Date } | undefined;
  /** What the rest of the server knows it by. */
  readonly handler: Handler;
  readonly wire: Wire;
  /** What the module sees. */
  readonly server: user.Server;
  readonly log: user.Log;
  readonly peers: Set<Peer>;
  /** Connections of its wire, which are the wire's alone. */
  readonly wired: Set<Connection>;
  readonly groups: Map<string, Group>;
  /** Those whose promise is not settled, the oldest first. */
  readonly pending: Map<Peer, Pending>;
  timer: NodeJS.Timeout | undefined;
  isTickDue: boolean;
  isTicking: boolean;
  /** Its file is gone: it has whom it has until they have been told, and nobody new. */
  isRemoved: boolean;
}

/** A sentence or so of what was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

export function noteError(slot: Slot, error: unknown): void {
  slot.lastError = { why: reasonOf(error).slice(0, longestReason), at: new Date() };
}

const longestReason = 500;

/** One version takes over from another, and, while it is on probation, may have to give back what it took. */

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

/**
 * Errors that no call of ours can catch, as they come out of a module's own timers and promises. Node ends the process for
 * those; but a module's fault is no reason to lose everyone's connections.
 */

export function catchStrays(slots: () => Iterable<Slot>): void {
  process.on('uncaughtException', (error: unknown, origin) => {
    const stack = stackOf(error);
    const culprit = [...slots()].find(({ hrefs }) => [...hrefs].some(href => stack.includes(href)));
    if (culprit === undefined) {
      // What a promise was rejected with need not say where it came from, and we leave none unheeded ourselves. Nor does
      // an `error` event that nobody listens to: a connection of a module's own that was refused has Node's calls only.
      if (origin === 'unhandledRejection' || !isOurs(stack)) return log('error', 'handler threw', { stack });
      // As without modules.
      process.stderr.write(`${stack}\n`);
      process.exit(1);
    }
    noteError(culprit, error);
    log('error', 'handler threw', { handler: culprit.name, stack });
    const { current } = culprit;
    if (stack.includes(`${hrefOf(current.real)}?v=${current.number}:`)) rollBack(culprit, current, error);
  });
}

const ourFolder = new URL('../..', import.meta.url).href;

/** Whether nobody's calls but ours, and Node's, led to the error. */
function isOurs(stack: string): boolean {
  const calls = stack.split('\n').filter(line => /^ {4}at .*\//.test(line) && !/[ (]node:/.test(line));
  return calls.length > 0 && calls.every(line => line.includes(ourFolder));
}
