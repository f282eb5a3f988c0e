/** The user's modules: loaded when the server starts, and again on `reload`, or when their files change. */
import type { Handler } from '../../core/handler.ts';
import type { Server } from '../../core/server.ts';
import type { Wire } from '../../core/wire.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { reportSlow } from '../../diagnostics/slowHandlers.ts';
import { log, stackOf } from '../../log/log.ts';
import { exactClock } from '../../process/clock.ts';
import { CloseCode } from '../../protocol/codes.ts';
import { callVersion, isPromise, newModuleHandler, newModuleWire } from './adapters.ts';
import { newModuleLog, newModuleServer } from './facade.ts';
import { hrefOf, isLoadedFrom, listModules, loadVersion, type ModuleFile, oldImports } from './load.ts';
import {
  begin,
  catchStrays,
  dropNames,
  reasonOf,
  rollBack,
  type Slot,
  stopAll,
  stopIfOver,
  takeOver,
  type Version,
} from './module.ts';
import { watchFolder } from './watch.ts';

export interface Modules {
  readonly server: Server;
  readonly folder: string;
  readonly slots: Map<string, Slot>;
  /** The server's own handlers, whose names are taken. */
  readonly builtIn: ReadonlyMap<string, Handler>;
  /** The wires of modules, and of them the one that greets. */
  wires: readonly Wire[];
  greeter: Wire | undefined;
}

/** A version that is ready to take over, or, without a slot, to begin. */
interface Planned {
  readonly file: ModuleFile;
  readonly version: Version;
  /** What it begins with. */
  readonly state: unknown;
}

/** Loads all there are. @throws Error, a sentence, for the first one that is broken */
export async function startModules(server: Server): Promise<Modules> {
  const { handlers: folder, watch } = server.configuration;
  const builtIn = new Map(server.handlers);
  const modules: Modules = { server, folder, slots: new Map(), builtIn, wires: [], greeter: undefined };
  modulesOf.set(server, modules);
  if (folder === '') return modules;
  catchStrays(() => modules.slots.values());
  const commit = await prepareModules(modules);
  commit();
  if (modules.slots.size === 0) log('warn', 'no handlers', { folder });
  server.reloadables.push({ prepare: next => prepareModules(modules, undefined, next.defaultHandler) });
  if (watch) watchFolder(folder, names => reloadSome(modules, names));
  return modules;
}

/** The server has ended: nobody is called any more. */
export function stopModules({ slots }: Modules): void {
  for (const slot of slots.values()) stopAll(slot);
}

const modulesOf = new WeakMap<Server, Modules>();

export function slotsOf(server: Server): Slot[] {
  return [...(modulesOf.get(server)?.slots.values() ?? [])];
}

/** Each by itself: one that is broken does not keep the others back. */
async function reloadSome(modules: Modules, names: ReadonlySet<string>): Promise<void> {
  for (const name of names) {
    try {
      const commit = await prepareModules(modules, new Set([name]));
      commit();
    } catch (error) {
      log('error', 'handler not loaded', { handler: name, reason: (error as Error).message });
    }
  }
}

/**
 * Loads what is new or has changed, and what is not in charge though it lies there.
 * @param only the names of the modules to look at; all, and whether some are gone, if not given
 * @param fallback the handler of `--default-handler`, which has to be there afterwards
 * @returns what puts them in place, and tells a sentence for each
 * @throws Error, a sentence: then nothing changes
 */
async function prepareModules(
  modules: Modules,
  only?: ReadonlySet<string>,
  fallback?: string,
): Promise<() => readonly string[]> {
  const { files, planned } = await planAll(modules, only);
  const names = new Set(files.map(({ name }) => name));
  const gone = only === undefined ? [...modules.slots.values()].filter(slot => !names.has(slot.name)) : [];
  check(modules, planned, gone, fallback);
  const old = await findOldImports(files, only);
  return () => {
    const lines = [...planned.map(one => put(modules, one)), ...gone.map(slot => remove(modules, slot))];
    findWires(modules);
    return [...lines, ...old.map(reportOldImports)];
  };
}

/** A link may be switched again and again while modules are loaded. */
const mostTries = 5;

/** All from the same release: where a link is switched in between, all over again. @throws Error, a sentence */
async function planAll(
  modules: Modules,
  only: ReadonlySet<string> | undefined,
): Promise<{ files: readonly ModuleFile[]; planned: readonly Planned[] }> {
  for (let tries = 1; ; tries++) {
    const files = await listModules(modules.folder);
    const hasMoved = async () =>
      tries < mostTries && placesOf(files) !== placesOf(await listModules(modules.folder));
    try {
      const planned = await plan(modules, files, only);
      if (planned.length === 0 || !(await hasMoved())) return { files, planned };
    } catch (error) {
      if (!(await hasMoved())) throw error;
    }
  }
}

const placesOf = (files: readonly ModuleFile[]) => JSON.stringify(files.map(({ real }) => real));

async function plan(
  modules: Modules,
  files: readonly ModuleFile[],
  only: ReadonlySet<string> | undefined,
): Promise<Planned[]> {
  const planned: Planned[] = [];
  for (const file of files) {
    if (only !== undefined && !only.has(file.name)) continue;
    const slot = modules.slots.get(file.name);
    if (slot?.file === file.shown && (await isLoadedFrom(file, slot.current))) continue;
    const version = await tryToLoad(modules, file);
    planned.push({ file, version, state: slot === undefined ? firstState(file, version) : undefined });
  }
  return planned;
}

async function tryToLoad({ slots, server }: Modules, file: ModuleFile): Promise<Version> {
  try {
    return await loadVersion(file, server.configuration.loadTimeout);
  } catch (error) {
    const slot = slots.get(file.name);
    if (slot !== undefined) slot.trouble = { what: 'refused', why: (error as Error).message, at: new Date() };
    throw error;
  }
}

interface OldImports {
  readonly file: ModuleFile;
  readonly imported: readonly string[];
}

async function findOldImports(
  files: readonly ModuleFile[],
  only: ReadonlySet<string> | undefined,
): Promise<OldImports[]> {
  const found: OldImports[] = [];
  for (const file of files) {
    if (file.real === undefined || only?.has(file.name) === false) continue;
    const imported = await oldImports(file.real);
    if (imported.length > 0) found.push({ file, imported });
  }
  return found;
}

/** @returns the same in a sentence */
function reportOldImports({ file: { name, shown }, imported }: OldImports): string {
  log('warn', 'imports not loaded again', { handler: name, files: imported.join(' ') });
  return `${shown} runs with ${imported.join(', ')} as before: what a module imports is loaded once, until a restart`;
}

/** @throws Error, a sentence */
function firstState({ shown }: ModuleFile, { handler }: Version): unknown {
  try {
    return handler?.state?.();
  } catch (error) {
    throw new Error(`${shown} is not loaded: its state threw ${reasonOf(error)}`);
  }
}

/** What they want must not be someone else's, nor may they let those down that they have. @throws Error, a sentence */
function check(
  { slots, builtIn }: Modules,
  planned: readonly Planned[],
  gone: readonly Slot[],
  fallback: string | undefined,
): void {
  const staying = [...slots.values()].filter(slot => !gone.includes(slot));
  const replaced = new Set(planned.map(({ file }) => file.name));
  const others = staying.filter(({ name }) => !replaced.has(name));
  const owners = new Map([...builtIn.keys()].map(name => [name, "the server's own"]));
  for (const { current, file } of others) for (const name of current.names) owners.set(name, file);
  let greeter = others.find(({ current }) => current.wire?.greet !== undefined)?.file;
  for (const { file, version } of planned) {
    const { shown, name } = file;
    for (const wanted of version.names) {
      const owner = owners.get(wanted);
      if (owner !== undefined)
        throw new Error(`${shown} is not loaded: the handler ${wanted} is ${owner} already`);
      owners.set(wanted, shown);
    }
    if (version.wire?.greet !== undefined) {
      if (greeter !== undefined) throw new Error(`${shown} is not loaded: ${greeter} greets already`);
      greeter = shown;
    }
    const slot = slots.get(name);
    if (slot === undefined) continue;
    if (slot.peers.size > 0 && version.handler === undefined)
      throw new Error(`${shown} is not loaded: it has connections, but no message function any more`);
    if (slot.wired.size > 0 && version.wire === undefined)
      throw new Error(`${shown} is not loaded: it has connections on its wire, but no wire any more`);
  }
  if (fallback !== undefined && !owners.has(fallback))
    throw new Error(`--default-handler names ${fallback}, and no module would be called that any more`);
}

/** @returns what happened, for whoever asked for it */
function put({ server, slots }: Modules, { file, version, state }: Planned): string {
  const { name, shown } = file;
  const slot = slots.get(name);
  if (slot === undefined) {
    const made = newSlot(server, name, shown, version);
    begin(made, state);
    slots.set(name, made);
    const names = version.names.join(' ') || 'none, but a wire';
    log('info', 'handler loaded', { handler: name, names });
    return `${whereFrom(file)} is loaded`;
  }
  slot.file = shown;
  const why = takeOver(slot, version);
  if (why === undefined)
    return `${whereFrom(file)} has taken over ${slot.peers.size + slot.wired.size} connections`;
  slot.trouble = { what: 'refused', why, at: new Date() };
  log('error', 'handler not loaded', { handler: name, reason: why });
  return `${shown} is not loaded: ${why}`;
}

/** The path as the user wrote it and, if there are links in it, what it leads to now. */
function whereFrom({ shown, path, real }: ModuleFile): string {
  return real === path ? shown : `${shown} (now ${real})`;
}

function newSlot(server: Server, name: string, file: string, version: Version): Slot {
  const own = { peers: new Set<never>(), groups: new Map(), log: newModuleLog(name) };
  const slot: Slot = {
    name,
    file,
    owner: server,
    hrefs: new Set([hrefOf(version.real)]),
    current: version,
    trouble: undefined,
    lastError: undefined,
    handler: newModuleHandler(name, () => slot),
    wire: newModuleWire(version.wire?.name ?? name, () => slot),
    server: newModuleServer(own),
    ...own,
    wired: new Set(),
    pending: new Map(),
    timer: undefined,
    isTickDue: false,
    isTicking: false,
    isRemoved: false,
  };
  return slot;
}

/** Its file is gone: there is nobody to answer its connections any more. */
function remove({ slots, server }: Modules, slot: Slot): string {
  const { name, file, peers, wired } = slot;
  const count = peers.size + wired.size;
  slots.delete(name);
  dropNames(slot);
  for (const entry of server.table.entries) {
    if (entry?.kind !== 'connection') continue;
    if (entry.handler !== slot.handler && !wired.has(entry)) continue;
    noteEnding(entry, 'server', `the module ${name} was removed`);
    entry.wire.close(entry, CloseCode.GoingAway, 'this is not served any more');
  }
  clearInterval(slot.timer);
  slot.isRemoved = true;
  stopIfOver(slot);
  log('info', 'handler removed', { handler: name, connections: count });
  return `${file} is gone, and ${count} connections with it`;
}

function findWires(modules: Modules): void {
  const slots = [...modules.slots.values()];
  modules.wires = slots.filter(({ current }) => current.wire?.matches !== undefined).map(({ wire }) => wire);
  modules.greeter = slots.find(({ current }) => current.wire?.greet !== undefined)?.wire;
}

/** How the rest of the server asks modules: commands for them, and what there is to say about each. */

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
