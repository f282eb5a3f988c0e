/** The server under test, dist/server.js, as a child process. */
import { type ChildProcess, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Tests run from build/test/, beside dist/. */
export const serverScript = fileURLToPath(new URL('../../../dist/server.js', import.meta.url));

export interface ServerProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** The port of the first listener. */
  readonly port: number;
  /** The URL of the ready line, such as `ws://[::]:40123`. Tests connect to 127.0.0.1 and `port`. */
  readonly url: string;
  /** Everything that the server has written to stderr, and the lines of it that are JSON. */
  stderr(): string;
  logged(): Record<string, unknown>[];
  /** Waits for a line of the log. @throws Error if the process exits without it */
  untilLogged(fits: (entry: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** Sends SIGTERM and waits for the exit. @returns the exit code, or null after a signal */
  stop(): Promise<number | null>;
  /** Sends SIGKILL and waits for the exit. */
  kill(): Promise<void>;
  /** Resolves with the exit code when the process has exited and its output has been read. */
  readonly exited: Promise<number | null>;
}

// When the test run is terminated, 'exit' handlers kill the servers. They do not run after a signal without a handler.
process.once('SIGTERM', () => process.exit(1));

/** What a test's or a suite's hooks are registered with. */
export interface Hooks {
  after(hook: () => Promise<void> | void): void;
}

export interface StartSettings {
  /** The server is killed when this test ends. */
  readonly test?: Hooks;
  readonly environment?: NodeJS.ProcessEnv;
  /** 'pipe': the test writes to `child.stdin`. */
  readonly stdin?: 'ignore' | 'pipe';
  /** The limit of open files, as `ulimit -n` sets it. */
  readonly openFiles?: number;
  /** The working directory. */
  readonly folder?: string;
  /** The server's program; dist/server.js by default. */
  readonly script?: string;
}

/**
 * Starts a server on a free port of 127.0.0.1 and waits for its ready line. The server does not outlive this process.
 * @param options further ones for the command line
 * @throws Error with the server's log if it exits before it is ready
 */
export async function startServer(...options: string[]): Promise<ServerProcess> {
  const standard = ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'];
  return startServerWith([...standard, ...options]);
}

/** Like `startServer`; the server is killed when the test ends. */
export async function startServerFor(test: Hooks, ...options: string[]): Promise<ServerProcess> {
  const server = await startServer(...options);
  test.after(() => server.kill());
  return server;
}

/** Like `startServer`, with the whole command line. `logged` and `untilLogged` need `--log-format json` in it. */
export async function startServerWith(
  commandLine: readonly string[],
  { test, environment = process.env, stdin = 'ignore', openFiles, folder, script }: StartSettings = {},
): Promise<ServerProcess> {
  const words = [process.execPath, script ?? serverScript, ...commandLine];
  // After `exec`, the shell's process is the server's.
  if (openFiles !== undefined) words.unshift('sh', '-c', `ulimit -n ${openFiles}; exec "$0" "$@"`);
  const [program = '', ...rest] = words;
  const child = spawn(program, rest, { cwd: folder, stdio: [stdin, 'pipe', 'pipe'], env: environment });
  const killChild = () => child.kill('SIGKILL');
  process.once('exit', killChild);
  let errors = '';
  child.stderr!.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  // Parses each line once: a debug log is long, and `untilLogged` searches it after each new line.
  const entries: Record<string, unknown>[] = [];
  let parsed = 0;
  const newestEntries = () => {
    const end = errors.lastIndexOf('\n') + 1;
    entries.push(...jsonLines(errors.slice(parsed, end)));
    parsed = end;
    return entries;
  };
  const exited = once(child, 'close').then(([code]) => {
    process.off('exit', killChild);
    return code as number | null;
  });
  const { url, port } = await readyLine(child, () => errors);
  const server: ServerProcess = {
    child,
    pid: child.pid!,
    port,
    url,
    stderr: () => errors,
    logged: () => newestEntries().map(entry => ({ ...entry })),
    async untilLogged(fits) {
      for (;;) {
        const found = newestEntries().find(fits);
        if (found !== undefined) return found;
        if (child.stderr!.closed)
          throw new Error(`the server exited without logging this; its log: ${errors}`);
        await Promise.race([once(child.stderr!, 'data'), exited]);
      }
    },
    exited,
    async stop() {
      child.kill('SIGTERM');
      return exited;
    },
    async kill() {
      killChild();
      await exited;
    },
  };
  test?.after(() => server.kill());
  return server;
}

/** Sends SIGHUP and waits for the outcome. @returns the log's entry `reloaded` or `reload failed` */
export async function reload(server: ServerProcess): Promise<Record<string, unknown>> {
  const outcomes = () => server.logged().filter(({ event }) => /^reload(ed| failed)$/.test(String(event)));
  const before = outcomes().length;
  server.child.kill('SIGHUP');
  while (outcomes().length === before) await once(server.child.stderr!, 'data');
  return outcomes()[before]!;
}

/** Runs the program with a command line on which it exits by itself. */
export function runToEnd(...commandLine: string[]): SpawnSyncReturns<string> {
  // The timeout is for a server that starts although it should not.
  return spawnSync(process.execPath, [serverScript, ...commandLine], { encoding: 'utf8', timeout: 60_000 });
}

/** @returns the first ready line */
async function readyLine(child: ChildProcess, errors: () => string): Promise<{ url: string; port: number }> {
  // Reads all lines, so that the server never blocks on a full pipe.
  const lines = createInterface(child.stdout!);
  let isReady = false;
  return new Promise((resolve, reject) => {
    lines.on('line', line => {
      if (isReady) return;
      const [ready] = jsonLines(`${line}\n`);
      // With `--log-format text`, the line is for people.
      const url =
        ready?.['event'] === 'listening' ? String(ready['url']) : / listens on (\S+) /.exec(line)?.[1];
      if (url === undefined) return;
      isReady = true;
      resolve({ url, port: Number(ready?.['port'] ?? /:(\d+)$/.exec(url)?.[1]) });
    });
    child.once('close', code =>
      reject(new Error(`the server exited (${code}) before it was ready: ${errors()}`)),
    );
  });
}

/** Without the last line if it has no end yet. */
function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Record<string, unknown>);
}
