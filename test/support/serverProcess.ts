/** The project's own server, dist/server.js, as a child process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The server under test: tests run from build/test/, beside dist/. */
export const serverScript = fileURLToPath(new URL('../../../dist/server.js', import.meta.url));

export interface ServerProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Of the first listener. */
  readonly port: number;
  /** As the ready line tells it, such as `ws://[::]:40123`. Tests connect to 127.0.0.1 and `port`. */
  readonly url: string;
  /** All that it said on stderr so far, and the same line by line, where lines are JSON. */
  stderr(): string;
  logged(): Record<string, unknown>[];
  /** The first such line that came or comes. @throws Error where the process ends without it */
  untilLogged(fits: (entry: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** SIGTERM, then waits for the end. @returns the exit code; null where a signal ended it */
  stop(): Promise<number | null>;
  /** Ends it at once, whoever is connected. */
  kill(): Promise<void>;
  /** Resolves with the exit code when the process has ended and its output is read. */
  readonly exited: Promise<number | null>;
}

// A test run that is told to end takes its servers with it: 'exit' is told of no signal otherwise.
process.once('SIGTERM', () => process.exit(1));

/**
 * Starts a server on a free port of 127.0.0.1 and waits for its ready line. It does not outlive this process.
 * @param options further ones for the command line
 * @throws Error with what it said on stderr, where it ends before it is ready
 */
export async function startServer(...options: string[]): Promise<ServerProcess> {
  const standard = ['-p', '0', '--host', '127.0.0.1', '--control', 'none', '--log-format', 'json'];
  return startServerWith([...standard, ...options]);
}

/** The same, ended at the latest when the test is over, however that goes. */
export async function startServerFor(
  test: { after(hook: () => Promise<void>): void },
  ...options: string[]
): Promise<ServerProcess> {
  const server = await startServer(...options);
  test.after(() => server.kill());
  return server;
}

/**
 * The same with the whole command line given, which has to have `--log-format json`.
 * @param stdin 'pipe': the test writes to `child.stdin`
 */
export async function startServerWith(
  commandLine: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
  stdin: 'ignore' | 'pipe' = 'ignore',
  folder?: string,
): Promise<ServerProcess> {
  const child = spawn(process.execPath, [serverScript, ...commandLine], {
    cwd: folder,
    stdio: [stdin, 'pipe', 'pipe'],
    env: environment,
  });
  const killChild = () => child.kill('SIGKILL');
  process.once('exit', killChild);
  let errors = '';
  child.stderr!.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  const exited = once(child, 'close').then(([code]) => {
    process.off('exit', killChild);
    return code as number | null;
  });
  const { url, port } = await readyLine(child, () => errors);
  return {
    child,
    pid: child.pid!,
    port,
    url,
    stderr: () => errors,
    logged: () => jsonLines(errors),
    async untilLogged(fits) {
      for (;;) {
        const found = jsonLines(errors).find(fits);
        if (found !== undefined) return found;
        if (child.stderr!.closed)
          throw new Error(`the server ended without logging this; it said: ${errors}`);
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
}

/** Of several listeners' lines, the first. */
async function readyLine(child: ChildProcess, errors: () => string): Promise<{ url: string; port: number }> {
  // Lines are read to the end, so that the server never blocks on a full pipe.
  const lines = createInterface(child.stdout!);
  let isReady = false;
  return new Promise((resolve, reject) => {
    lines.on('line', line => {
      if (isReady) return;
      const [ready] = jsonLines(`${line}\n`);
      if (ready?.['event'] === 'listening') {
        isReady = true;
        resolve({ url: String(ready['url']), port: Number(ready['port']) });
      }
    });
    child.once('close', code =>
      reject(new Error(`the server ended (${code}) before it was ready: ${errors()}`)),
    );
  });
}

/** What is behind the last line's end is not whole yet. */
function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Record<string, unknown>);
}
