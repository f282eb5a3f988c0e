/**
 * The user's modules (`--handlers`): loads them at the start, on `reload` and with `--watch`, and runs the commands about them.
 */

import { closeConnection } from '../../core/close.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { endTiming } from '../../diagnostics/slowHandlers.ts';
import { log, stackOf } from '../../log/log.ts';
import { type Configuration, noHandler } from '../../options/configuration.ts';
import { exactClock } from '../../process/clock.ts';
import { CloseCode } from '../../protocol/codes.ts';
import type { Handler, Server, Wire } from '../../records/records.ts';
import type { Channels } from '../channels/records.ts';
import { newModuleHandler, newModuleWire } from './adapters.ts';
import { newModuleChannels } from './channels.ts';
import { newModuleLog, newModuleServer } from './facade.ts';
import {
  errorText,
  givenVersion,
  isLoadedFrom,
  listModules,
  loadVersion,
  type ModuleFile,
  moduleUrl,
  staleImports,
  type Version,
} from './load.ts';
import {
  activate,
  callVersion,
  isPromise,
  type Module,
  rollBack,
  stopIfUnused,
  stopModule,
  swapIn,
  unregisterNames,
} from './module.ts';
import { watchFolder } from './watch.ts';

export interface Modules {
  readonly server: Server;
  readonly channels: Channels | undefined;
  readonly folder: string;
  readonly byName: Map<string, Module>;
  /** The server's own handlers: modules cannot use their names. */
  readonly builtIn: ReadonlyMap<string, Handler>;
  /** The modules' wires that recognize first bytes, and the one that speaks first. */
  wires: readonly Wire[];
  greeter: Wire | undefined;
}

/** A loaded version that is ready to be installed. */
interface PlannedVersion {
  readonly file: ModuleFile;
  readonly version: Version;
  /** The first state of a new module. */
  readonly state: unknown;
}

/** Handlers of the process that opens the server, by name; each is what a module exports. */
export type GivenHandlers = Readonly<Record<string, object>>;

/** Loads the given handlers, and all modules in the folder. @throws Error, a sentence, for the first one that is broken */
export async function startModules(
  server: Server,
  channels?: Channels,
  given: GivenHandlers = {},
): Promise<Modules> {
  const { handlers: folder, watch } = server.configuration;
  const builtIn = new Map(server.handlers);
  const none = { byName: new Map(), wires: [], greeter: undefined };
  const modules: Modules = { server, channels, folder, builtIn, ...none };
  registries.set(server, modules);
  for (const [name, exports] of Object.entries(given)) installGiven(modules, name, exports);
  if (folder === '') return modules;
  const commit = await prepareModules(modules);
  commit();
  if (modules.byName.size === 0) log('warn', 'no handlers', { folder });
  server.reloadables.push({ prepare: next => prepareModules(modules, undefined, next) });
  if (watch) watchFolder(folder, names => reloadChanged(modules, names));
  return modules;
}

/** @throws Error, a sentence */
function installGiven(modules: Modules, name: string, exports: object): void {
  const file: ModuleFile = { name, path: '', real: '', shown: `handlers.${name}` };
  const version = givenVersion(file, exports);
  const planned = { file, version, state: firstState(file, version) };
  checkPlan(modules, [planned], [], undefined);
  install(modules, planned);
  updateWires(modules);
}

/** Each module gets a new state, as at the start. */
export function resetModules(server: Server): void {
  for (const { facade, current } of modulesOf(server)) facade.state = current.handler?.state?.();
}

/** Stops all modules when the server has ended. */
export function stopModules({ byName }: Modules): void {
  for (const module of byName.values()) stopModule(module);
}

const registries = new WeakMap<Server, Modules>();

export function modulesOf(server: Server): Module[] {
  return [...(registries.get(server)?.byName.values() ?? [])];
}

/** Reloads each module by itself: a broken one does not stop the others. */
async function reloadChanged(modules: Modules, names: ReadonlySet<string>): Promise<void> {
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
 * Loads modules whose file differs from their current version. Nothing changes until the returned function is called.
 * @param only names of modules; if not given, all modules are checked, including for deleted files
 * @param next the configuration whose handlers must exist afterwards
 * @returns commits the change, and returns a sentence for each module
 * @throws Error, a sentence
 */
async function prepareModules(
  modules: Modules,
  only?: ReadonlySet<string>,
  next?: Configuration,
): Promise<() => readonly string[]> {
  const { files, planned } = await planAll(modules, only);
  const names = new Set(files.map(({ name }) => name));
  const gone =
    only === undefined ? [...modules.byName.values()].filter(module => !names.has(module.name)) : [];
  checkPlan(modules, planned, gone, next);
  const old = await findStaleImports(files, only);
  return () => {
    const lines = [
      ...planned.map(one => install(modules, one)),
      ...gone.map(module => removeModule(modules, module)),
    ];
    updateWires(modules);
    return [...lines, ...old.map(reportStaleImports)];
  };
}

/** Limits the retries when links are switched during loading. */
const maxAttempts = 5;

/** Loads all modules from the same release: if a link is switched in between, starts again. @throws Error, a sentence */
async function planAll(
  modules: Modules,
  only: ReadonlySet<string> | undefined,
): Promise<{ files: readonly ModuleFile[]; planned: readonly PlannedVersion[] }> {
  for (let tries = 1; ; tries++) {
    const files = await listModules(modules.folder);
    const hasMoved = async () =>
      tries < maxAttempts && realPathsOf(files) !== realPathsOf(await listModules(modules.folder));
    try {
      const planned = await plan(modules, files, only);
      if (planned.length === 0 || !(await hasMoved())) return { files, planned };
    } catch (error) {
      if (!(await hasMoved())) throw error;
    }
  }
}

const realPathsOf = (files: readonly ModuleFile[]) => JSON.stringify(files.map(({ real }) => real));

async function plan(
  modules: Modules,
  files: readonly ModuleFile[],
  only: ReadonlySet<string> | undefined,
): Promise<PlannedVersion[]> {
  const planned: PlannedVersion[] = [];
  for (const file of files) {
    if (only !== undefined && !only.has(file.name)) continue;
    const module = modules.byName.get(file.name);
    if (module?.file === file.shown && (await isLoadedFrom(file, module.current))) continue;
    const version = await tryToLoad(modules, file);
    planned.push({ file, version, state: module === undefined ? firstState(file, version) : undefined });
  }
  return planned;
}

async function tryToLoad({ byName, server }: Modules, file: ModuleFile): Promise<Version> {
  try {
    return await loadVersion(file, server.configuration.loadTimeout);
  } catch (error) {
    const module = byName.get(file.name);
    if (module !== undefined)
      module.failure = { what: 'refused', why: (error as Error).message, at: new Date() };
    throw error;
  }
}

interface StaleImports {
  readonly file: ModuleFile;
  readonly imported: readonly string[];
}

async function findStaleImports(
  files: readonly ModuleFile[],
  only: ReadonlySet<string> | undefined,
): Promise<StaleImports[]> {
  const found: StaleImports[] = [];
  for (const file of files) {
    if (file.real === undefined || only?.has(file.name) === false) continue;
    const imported = await staleImports(file.real);
    if (imported.length > 0) found.push({ file, imported });
  }
  return found;
}

/** Logs it, and returns it as a sentence. */
function reportStaleImports({ file: { name, shown }, imported }: StaleImports): string {
  log('warn', 'stale imports', { handler: name, files: imported.join(' ') });
  return `${shown} still uses the old ${imported.join(', ')}: files that a module imports are loaded once; restart the server to reload them`;
}

/** @throws Error, a sentence */
function firstState({ shown }: ModuleFile, { handler }: Version): unknown {
  try {
    return handler?.state?.();
  } catch (error) {
    throw new Error(`${shown} is not loaded: its state threw ${errorText(error)}`);
  }
}

/**
 * Checks that names and the greeting are unique, and that each new version can serve the module's connections.
 * @throws Error, a sentence
 */
function checkPlan(
  { byName, builtIn }: Modules,
  planned: readonly PlannedVersion[],
  gone: readonly Module[],
  next: Configuration | undefined,
): void {
  const staying = [...byName.values()].filter(module => !gone.includes(module));
  const replaced = new Set(planned.map(({ file }) => file.name));
  const others = staying.filter(({ name }) => !replaced.has(name));
  const owners = new Map([...builtIn.keys()].map(name => [name, 'the server']));
  for (const { current, file } of others) for (const name of current.names) owners.set(name, file);
  let greeter = others.find(({ current }) => current.wire?.greet !== undefined)?.file;
  for (const { file, version } of planned) {
    const { shown, name } = file;
    for (const wanted of version.names) {
      const owner = owners.get(wanted);
      if (owner !== undefined)
        throw new Error(
          `${shown} is not loaded: the name ${wanted} is already used by ${owner}; choose another`,
        );
      owners.set(wanted, shown);
    }
    if (version.wire?.greet !== undefined) {
      if (greeter !== undefined)
        throw new Error(
          `${shown} is not loaded: ${greeter} already has a greet function, and only one module may; remove one`,
        );
      greeter = shown;
    }
    const module = byName.get(name);
    if (module === undefined) continue;
    if (module.peers.size > 0 && version.handler === undefined)
      throw new Error(
        `${shown} is not loaded: it has connections, but no longer a message function; export one`,
      );
    if (module.wireConnections.size > 0 && version.wire === undefined)
      throw new Error(
        `${shown} is not loaded: it has connections on its wire, but no longer a wire; export one`,
      );
  }
  if (next !== undefined) checkNames(owners, next);
}

/** Checks that the options name handlers. @throws Error, a sentence */
function checkNames(known: ReadonlyMap<string, string>, { defaultHandler, fault }: Configuration): void {
  const named = [
    ...(defaultHandler === noHandler ? [] : [['--default-handler', defaultHandler] as const]),
    ...fault.map(({ handler }) => ['--fault', handler] as const),
  ];
  for (const [option, name] of named)
    if (!known.has(name))
      throw new Error(
        `${option} names ${name}, but no handler would have that name; add its module, or name another handler`,
      );
}

/** @returns a sentence about what happened */
function install(modules: Modules, { file, version, state }: PlannedVersion): string {
  const { byName } = modules;
  const { name, shown } = file;
  const module = byName.get(name);
  if (module === undefined) {
    const made = newModule(modules, name, shown, version);
    activate(made, state);
    byName.set(name, made);
    const names = version.names.join(' ') || 'none, but a wire';
    log('info', 'handler loaded', { handler: name, names });
    return `${shownPath(file)} is loaded`;
  }
  module.file = shown;
  const why = swapIn(module, version);
  if (why === undefined)
    return `${shownPath(file)} has taken over ${connectionCount(module.peers.size + module.wireConnections.size)}`;
  module.failure = { what: 'refused', why, at: new Date() };
  log('error', 'handler not loaded', { handler: name, reason: why });
  return `${shown} is not loaded: ${why}`;
}

const connectionCount = (count: number) => `${count} connection${count === 1 ? '' : 's'}`;

/** The path as the user wrote it and, if it has links, the file that it resolves to. */
function shownPath({ shown, path, real }: ModuleFile): string {
  return real === path ? shown : `${shown} (now ${real})`;
}

function newModule({ server, channels }: Modules, name: string, file: string, version: Version): Module {
  const own = { peers: new Set<never>(), groups: new Map(), log: newModuleLog(name) };
  const module: Module = {
    name,
    file,
    server: server,
    hrefs: new Set(version.real === '' ? [] : [moduleUrl(version.real)]),
    current: version,
    failure: undefined,
    lastError: undefined,
    handler: newModuleHandler(name, () => module),
    wire: newModuleWire(version.wire?.name ?? name, () => module),
    facade: newModuleServer(own, newModuleChannels(channels, `module ${name}`, own.log)),
    ...own,
    wireConnections: new Set(),
    pendingAnswers: new Map(),
    tickTimer: undefined,
    isTickDue: false,
    isTicking: false,
    isRemoved: false,
  };
  return module;
}

/** The file was deleted: closes the module's connections. */
function removeModule({ byName, server }: Modules, module: Module): string {
  const { name, file, peers, wireConnections } = module;
  const count = peers.size + wireConnections.size;
  byName.delete(name);
  unregisterNames(module);
  for (const entry of server.table.entries) {
    if (entry?.kind !== 'connection') continue;
    if (entry.handler !== module.handler && !wireConnections.has(entry)) continue;
    noteEnding(entry, 'server', `the module ${name} was removed`);
    closeConnection(entry, CloseCode.GoingAway, 'this handler was removed');
  }
  clearInterval(module.tickTimer);
  module.isRemoved = true;
  stopIfUnused(module);
  log('info', 'handler removed', { handler: name, connections: count });
  return `${file} was deleted (${connectionCount(count)} closed)`;
}

function updateWires(modules: Modules): void {
  const all = [...modules.byName.values()];
  modules.wires = all.filter(({ current }) => current.wire?.matches !== undefined).map(({ wire }) => wire);
  modules.greeter = all.find(({ current }) => current.wire?.greet !== undefined)?.wire;
}

/** A module in the output of `info`. */
export interface ModuleState {
  readonly name: string;
  readonly file: string;
  /** The file of the current version, with all links resolved. */
  readonly realPath: string;
  /** Its subprotocols and paths. */
  readonly names: readonly string[];
  readonly wire: string | undefined;
  /** Counts the versions of all modules since the start. */
  readonly version: number;
  readonly loadedAt: string;
  /**
   * `on probation`: the version took over less than `--rollback-window` ago. `refused` and `rolled back`: the file's content is
   * not what runs; `reason` says why. Programs read these values, so they keep their names.
   */
  readonly state: 'running' | 'on probation' | 'refused' | 'rolled back';
  readonly reason: string | undefined;
  readonly connections: number;
  readonly lastError: { readonly at: string; readonly why: string } | undefined;
}

export function moduleStates(server: Server): ModuleState[] {
  return modulesOf(server).map(
    ({ name, file, current, failure, lastError, peers, wireConnections, wire }) => ({
      name,
      file,
      realPath: current.real,
      names: current.names,
      wire: current.wire === undefined ? undefined : wire.name,
      version: current.number,
      loadedAt: current.loadedAt.toISOString(),
      state: failure?.what ?? (current.previous === undefined ? 'running' : 'on probation'),
      reason: failure?.why,
      connections: peers.size + wireConnections.size,
      lastError: lastError && { at: lastError.at.toISOString(), why: lastError.why },
    }),
  );
}

/**
 * Calls the `command` function of a module's handler (`pollywog call`).
 * @param name the module's name, or one of its handler's names
 * @returns what the function returns, or its promise resolves to
 * @throws Error, a sentence
 */
export async function callHandler(server: Server, name: string, words: readonly string[]): Promise<unknown> {
  const modules = modulesOf(server);
  const module =
    modules.find(one => one.current.names.includes(name)) ?? modules.find(one => one.name === name);
  if (module === undefined) {
    const known = modules.map(one => one.name).join(', ');
    throw new Error(
      `no module ${name}; ${known === '' ? 'load some with --handlers' : `the modules are ${known}`}`,
    );
  }
  const { current } = module;
  if (current.handler?.command === undefined)
    throw new Error(`${module.name} has no command function; export one`);
  const begun = exactClock();
  try {
    const answer = callVersion(module, undefined, ({ handler }) => handler?.command?.(words, module.facade));
    endTiming(begun, server.configuration.slowHandler);
    return isPromise(answer) ? await withDeadline(answer, server.configuration.handlerTimeout) : answer;
  } catch (error) {
    log('error', 'handler threw', { handler: module.name, stack: stackOf(error) });
    rollBack(module, current, error);
    throw new Error(`${module.name}: ${errorText(error)}`);
  }
}

/** @param limit milliseconds; 0: no limit */
async function withDeadline(promise: PromiseLike<unknown>, limit: number): Promise<unknown> {
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
