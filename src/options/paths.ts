/** Where things are when nobody says where: root's in the system's folders, a user's in those of the XDG base directories. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import type { Configuration } from './configuration.ts';
import type { Environment } from './environment.ts';

export interface DefaultPaths {
  /** Commands to a running server come in here. */
  readonly controlPath: string;
  readonly pidFile: string;
  readonly logFile: string;
  /** The first that exists is read, where no other is named. */
  readonly configFiles: readonly string[];
}

/** @param uid `undefined` where the system has none; 0 is root */
export function defaultPaths(env: Environment, uid: number | undefined): DefaultPaths {
  const controlPath = defaultControlPath(env, uid);
  if (uid === 0) {
    const configFiles = ['/etc/pollywog.json'];
    return { controlPath, pidFile: '/run/pollywog.pid', logFile: '/var/log/pollywog.log', configFiles };
  }
  const state = stateFolder(env);
  return {
    controlPath,
    pidFile: join(folderOf(env['XDG_RUNTIME_DIR']) ?? state, 'pollywog.pid'),
    logFile: join(state, 'pollywog.log'),
    configFiles: [
      join(folderOf(env['XDG_CONFIG_HOME']) ?? join(home(env), '.config'), 'pollywog.json'),
      '/etc/pollywog.json',
    ],
  };
}

/** Where the log goes: `stderr`, `none`, or a file's path. A daemon has no terminal to write to. */
export function logPath({ logFile, daemon }: Configuration, usual: DefaultPaths): string {
  if (logFile !== 'auto') return logFile;
  return daemon ? usual.logFile : 'stderr';
}

/** Where commands come in; `undefined` where they do not. */
export function controlPath(
  { control }: Pick<Configuration, 'control'>,
  usual: DefaultPaths,
): string | undefined {
  if (control === 'auto') return usual.controlPath;
  return control === 'none' ? undefined : resolve(control);
}

/** The file that keeps a second server from starting; `undefined` where there is to be none. */
export function pidPath({ pidFile, daemon }: Configuration, usual: DefaultPaths): string | undefined {
  if (pidFile === 'auto') return daemon ? usual.pidFile : undefined;
  return pidFile === 'none' ? undefined : pidFile;
}

/**
 * The control socket. Whoever may connect to it commands the server: `XDG_RUNTIME_DIR` is its user's alone, and the
 * other two folders are to be made so (0700) by whoever listens.
 */
export function defaultControlPath(env: Environment, uid: number | undefined): string {
  if (uid === 0) return '/run/pollywog/control.sock';
  const runtime = folderOf(env['XDG_RUNTIME_DIR']);
  return runtime === undefined
    ? join(stateFolder(env), 'pollywog', 'control.sock')
    : join(runtime, 'pollywog.sock');
}

function stateFolder(env: Environment): string {
  return folderOf(env['XDG_STATE_HOME']) ?? join(home(env), '.local', 'state');
}

function home(env: Environment): string {
  return folderOf(env['HOME']) ?? homedir();
}

/** XDG Base Directory Specification: a path that is not absolute is to be ignored. */
function folderOf(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}
