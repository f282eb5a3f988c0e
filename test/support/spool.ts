/** A spool folder, as a script uses it. */
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hooks, type ServerProcess, startServer } from './serverProcess.ts';
import { temporaryFolder } from './temporaryFolder.ts';

export interface SpoolFolder {
  /** The servers that take commands from this folder. */
  readonly servers: ServerProcess[];
  readonly path: string;
  /** Writes the file under another name and renames it, as scripts should. */
  put(name: string, content: string | Uint8Array): void;
  /** The content of a file there, such as `001.out` or `failed/001.cmd`. */
  read(file: string): string;
  has(file: string): boolean;
  /** The names of the files with this suffix, without it, sorted. */
  names(suffix: string, folder?: string): string[];
}

/** Makes a spool's folder. Its servers are killed when the test ends. */
export function newSpoolFolder(test: Hooks): SpoolFolder {
  const spool = spoolFolder(join(temporaryFolder(), 'spool'));
  test.after(async () => {
    for (const server of spool.servers) await server.kill();
  });
  return spool;
}

export function spoolFolder(path: string): SpoolFolder {
  return {
    path,
    servers: [],
    put(name, content) {
      const draft = join(path, `${name}.tmp`);
      writeFileSync(draft, content);
      renameSync(draft, join(path, `${name}.cmd`));
    },
    read: file => readFileSync(join(path, file), 'utf8'),
    has: file => existsSync(join(path, file)),
    names(suffix, folder = '') {
      const all = readdirSync(join(path, folder)).filter(file => file.endsWith(suffix));
      return all.map(file => file.slice(0, -suffix.length)).sort();
    },
  };
}

/** Starts a server that takes commands from the folder. */
export async function startSpooling(spool: SpoolFolder, ...options: string[]): Promise<ServerProcess> {
  const server = await startServer('--spool', spool.path, ...options);
  spool.servers.push(server);
  return server;
}

/** Waits until the server has processed the file. @returns whether it failed, and its output */
export async function untilThrough(
  server: ServerProcess,
  spool: SpoolFolder,
  name: string,
): Promise<{ failed: boolean; said: string }> {
  const { event } = await server.untilLogged(
    entry => /^spool file (done|failed)$/.test(String(entry['event'])) && entry['name'] === name,
  );
  const failed = event === 'spool file failed';
  return { failed, said: spool.read(failed ? `failed/${name}.out` : `${name}.out`) };
}
