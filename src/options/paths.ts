/** Default paths: in the system's folders for root, and in the XDG base directories for other users. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import type { Configuration } from './configuration.ts';
import type { Environment } from './environment.ts';

export interface DefaultPaths {
  /** The control socket, for commands to a running server. */
  readonly controlPath: string;
  readonly pidFile: string;
  readonly logFile: string;
  /** The folder for recordings by the command `record`, without `--record`. */
  readonly recordings: string;
  /** The first that exists is read, unless `--config` names another. */
  readonly configFiles: readonly string[];
}

/** @param uid 0 for root, `undefined` on systems without user IDs */
export function defaultPaths(env: Environment, uid: number | undefined): DefaultPaths {
  const controlPath = defaultControlPath(env, uid);
  if (uid === 0) {
    const configFiles = ['/etc/pollywog.json'];
    return {
      controlPath,
      pidFile: '/run/pollywog.pid',
      logFile: '/var/log/pollywog.log',
      recordings: '/var/lib/pollywog/recordings',
      configFiles,
    };
  }
  const state = stateFolder(env);
  return {
    controlPath,
    pidFile: join(folderOf(env['XDG_RUNTIME_DIR']) ?? state, 'pollywog.pid'),
    logFile: join(state, 'pollywog.log'),
    recordings: join(state, 'pollywog', 'recordings'),
    configFiles: [
      join(folderOf(env['XDG_CONFIG_HOME']) ?? join(home(env), '.config'), 'pollywog.json'),
      '/etc/pollywog.json',
    ],
  };
}

/** `stderr`, `none`, or the path of the log file. A daemon has no terminal, so its default is a file. */
export function logPath({ logFile, daemon }: Configuration, usual: DefaultPaths): string {
  if (logFile !== 'auto') return logFile;
  return daemon ? usual.logFile : 'stderr';
}

/** The path of the control socket; `undefined` for none. */
export function controlPath(
  { control }: Pick<Configuration, 'control'>,
  usual: DefaultPaths,
): string | undefined {
  if (control === 'auto') return usual.controlPath;
  return control === 'none' ? undefined : resolve(control);
}

/** The path of the PID file; `undefined` for none. */
export function pidPath({ pidFile, daemon }: Configuration, usual: DefaultPaths): string | undefined {
  if (pidFile === 'auto') return daemon ? usual.pidFile : undefined;
  return pidFile === 'none' ? undefined : pidFile;
}

/**
 * The control socket grants every command, so only its user may reach it: `XDG_RUNTIME_DIR` is private, and the listener
 * creates the other folders with mode 0700.
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

/** XDG Base Directory Specification: relative paths must be ignored. */
function folderOf(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}
