/**
 * One of the user's modules: its current version, and what outlives a version: connections, groups and state.
 *
 * A new version takes over all connections. During the rollback window (`--rollback-window`) an exception rolls back to the
 * previous version, which handles the same event again.
 */

import { scheduleTurn } from '../../core/poll.ts';
import { startTiming, stopTiming } from '../../diagnostics/slowHandlers.ts';
import { log, stackOf } from '../../log/log.ts';
import type { Connection, Wire } from '../../records/records.ts';
import { deferEffects } from './callScope.ts';
import type { ModuleContext, Peer } from './facade.ts';
import type * as user from './interface.ts';
import { errorText, moduleUrl, type Version } from './load.ts';

/** Why the file's latest content is not the current version. */
export interface LoadFailure {
  readonly what: 'refused' | 'rolled back';
  readonly why: string;
  readonly at: Date;
}

/** A promise that a handler returned for a connection. */
export interface PendingAnswer {
  readonly connection: Connection;
  readonly since: number;
}

export interface Module extends ModuleContext {
  /** The path as the user wrote it, for messages. */
  file: string;
  /** The URLs of all files that versions were loaded from: they identify the module in a stack trace. */
  readonly hrefs: Set<string>;
  current: Version;
  failure: LoadFailure | undefined;
  lastError: { readonly why: string; readonly at: Date } | undefined;
  readonly wire: Wire;
  /** The `server` that the module's functions get. */
  readonly facade: user.Server;
  /** Connections that speak the module's own wire; they have no handler. */
  readonly wireConnections: Set<Connection>;
  /** Oldest first. */
  readonly pendingAnswers: Map<Peer, PendingAnswer>;
  tickTimer: NodeJS.Timeout | undefined;
  isTickDue: boolean;
  isTicking: boolean;
  /** The file was deleted: the module serves its connections until their `closed`, and gets no new ones. */
  isRemoved: boolean;
}

export function recordError(module: Module, error: unknown): void {
  module.lastError = { why: errorText(error).slice(0, longestReason), at: new Date() };
}

const longestReason = 500;

/** Starts the module's first version. */
export function activate(module: Module, state: unknown): void {
  module.facade.state = state;
  registerNames(module);
  startTicking(module);
}

/**
 * Replaces the current version: `next` gets all connections with their data, and the module's state.
 * @returns why its `swap` failed; then nothing has changed
 */
export function swapIn(module: Module, next: Version): string | undefined {
  const { facade, current: old } = module;
  const { state } = facade;
  try {
    facade.state = deferEffects(() => nextState(next, state, facade));
  } catch (error) {
    facade.state = state;
    return `its swap threw ${errorText(error)}`;
  }
  module.current = next;
  module.hrefs.add(moduleUrl(next.real));
  module.failure = undefined;
  registerNames(module);
  startTicking(module);
  const { rollbackWindow } = module.server.configuration;
  if (rollbackWindow > 0) {
    next.previous = { version: old, state };
    setTimeout(() => endRollbackWindow(module, next, old), rollbackWindow).unref();
  } else {
    stopVersion(module, old);
  }
  const { number: version, real: file } = next;
  log('info', 'handler swapped', { handler: module.name, version, connections: module.peers.size, file });
  return undefined;
}

function nextState(version: Version, old: unknown, server: user.Server): unknown {
  const { handler } = version;
  const adapted: unknown = handler?.swap?.(old, server);
  version.hasOwnState = adapted !== undefined;
  if (version.hasOwnState) return adapted;
  return old === undefined ? handler?.state?.() : old;
}

/** The new version has proved itself. No effect if it was rolled back or stopped in the meantime. */
function endRollbackWindow(module: Module, version: Version, old: Version): void {
  if (version.previous === undefined) return;
  version.previous = undefined;
  stopVersion(module, old);
}

/** Stops the current version and the previous ones that a rollback could have brought back. */
export function stopModule(module: Module): void {
  clearInterval(module.tickTimer);
  for (let version: Version | undefined = module.current; version !== undefined; ) {
    const before: Version | undefined = version.previous?.version;
    version.previous = undefined;
    stopVersion(module, version);
    version = before;
  }
}

/** Stops a deleted module when its last connection has closed. */
export function stopIfUnused(module: Module): void {
  if (module.isRemoved && module.peers.size + module.wireConnections.size === 0)
    stopVersion(module, module.current);
}

/** Tells the version that it is never called again. */
export function stopVersion(module: Module, { handler }: Version): void {
  try {
    handler?.stopped?.();
  } catch (error) {
    recordError(module, error);
    log('error', 'handler threw', { handler: module.name, stack: stackOf(error) });
  }
}

/**
 * Calls the current version. During its rollback window effects are deferred until it returns; if it throws, the previous
 * version is restored and called instead.
 */
export function callWithRollback<T>(module: Module, call: (version: Version) => T): T {
  for (;;) {
    const version = module.current;
    if (version.previous === undefined) return call(version);
    try {
      return deferEffects(() => call(version));
    } catch (error) {
      rollBack(module, version, error);
    }
  }
}

/** Calls the current version and times it for `--slow-handler`. Records what it throws, and throws it. */
export function callVersion<T>(module: Module, id: number | undefined, act: (version: Version) => T): T {
  const hasStarted = startTiming(module.name, id);
  try {
    return callWithRollback(module, act);
  } catch (error) {
    recordError(module, error);
    throw error;
  } finally {
    if (hasStarted) stopTiming();
  }
}

export function isPromise(answer: unknown): answer is PromiseLike<unknown> {
  return (
    answer !== undefined && answer !== null && typeof (answer as PromiseLike<unknown>).then === 'function'
  );
}

/** Restores the previous version. No effect unless `version` is current and in its rollback window. */
export function rollBack(module: Module, version: Version, error: unknown): void {
  const { previous, number } = version;
  if (module.current !== version || previous === undefined) return;
  recordError(module, error);
  module.failure = { what: 'rolled back', why: module.lastError?.why ?? '', at: new Date() };
  version.isRolledBack = true;
  version.previous = undefined;
  module.current = previous.version;
  // A version without its own state has updated the state that it shares with the previous version.
  if (version.hasOwnState) module.facade.state = previous.state;
  registerNames(module);
  startTicking(module);
  const to = previous.version.number;
  log('error', 'handler rolled back', { handler: module.name, version: number, to, stack: stackOf(error) });
  stopVersion(module, version);
}

/** New connections find the module by the names of its current version. */
function registerNames(module: Module): void {
  const { handlers } = module.server;
  unregisterNames(module);
  for (const name of module.current.names) if (!handlers.has(name)) handlers.set(name, module.handler);
}

export function unregisterNames({ server: { handlers }, handler }: Module): void {
  for (const [name, one] of handlers) if (one === handler) handlers.delete(name);
}

const defaultTick = 1000;

function startTicking(module: Module): void {
  clearInterval(module.tickTimer);
  module.tickTimer = undefined;
  const { handler } = module.current;
  if (handler?.tick === undefined) return;
  module.tickTimer = setInterval(() => {
    module.isTickDue = true;
    scheduleTurn(module.server);
  }, handler.tickEvery ?? defaultTick).unref();
}

/**
 * Logs errors from modules' own timers and promises, which no call of the server's can catch. Node would end the process, and
 * with it the connections of all other handlers.
 */
export function catchUncaught(modules: () => Iterable<Module>): void {
  process.on('uncaughtException', (error: unknown, origin) => {
    const stack = stackOf(error);
    const source = [...modules()].find(({ hrefs }) => [...hrefs].some(href => stack.includes(href)));
    if (source === undefined) {
      // No module is in the stack, but it may still be a module's error: a rejection need not have a stack, and an
      // `error` event without a listener (a refused connection that a module opened) has Node's calls only. The server
      // itself handles all of its rejections.
      if (origin === 'unhandledRejection' || !isServerFault(stack))
        return log('error', 'handler threw', { stack });
      // An error of the server's own ends the process, as it does without modules.
      process.stderr.write(`${stack}\n`);
      process.exit(1);
    }
    recordError(source, error);
    log('error', 'handler threw', { handler: source.name, stack });
    const { current } = source;
    if (stack.includes(`${moduleUrl(current.real)}?v=${current.number}:`)) rollBack(source, current, error);
  });
}

const serverFolder = new URL('../..', import.meta.url).href;

/** Whether all calls in the stack are the server's or Node's. */
function isServerFault(stack: string): boolean {
  const calls = stack.split('\n').filter(line => /^ {4}at .*\//.test(line) && !/[ (]node:/.test(line));
  return calls.length > 0 && calls.every(line => line.includes(serverFolder));
}
