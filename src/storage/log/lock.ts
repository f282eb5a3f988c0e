/**
 * The lock of a folder: a Unix socket in it, on which its owner listens. The kernel closes the socket of a killed process, so a
 * refused connection means that the lock is stale.
 *
 * A file of the folder cannot be replaced atomically by another server's, so each server publishes a socket of its own, with a
 * name that is never used again, and then looks for others: of two servers that start together, the later one sees the earlier
 * one. If each sees the other, the smaller name wins. A socket gets its name when it is already listening, so a name that
 * refuses connections can be removed.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  unlinkSync,
} from 'node:fs';
import { createConnection, createServer, type Server as NetServer } from 'node:net';
import { join } from 'node:path';
import { log } from '../../log/log.ts';
import { errorCode, storageError } from '../disk.ts';

export interface FolderLock {
  /** Why nothing may be written to the folder, a sentence: somebody removed its lock, and locking it again failed. */
  readonly fault: string | undefined;
  /** Removes the lock. Another server may take the folder from then on. */
  release(): void;
}

const prefix = 'lock-';
const unpublished = '.lock-';

/** sockaddr_un has 108 bytes for the path and a NUL; on BSD and macOS, 104. */
const maxSocketPath = process.platform === 'linux' ? 107 : 103;

/** The owner of a lock answers at once, unless it is stopped or very busy. */
const answerTimeout = 2000;
const retryDelay = 20;

/** A socket that is still unpublished after this time belongs to a killed server. */
const publishTimeout = 60_000;

/** How often the owner checks that its socket still exists. */
const checkInterval = 1000;

type State = 'claiming' | 'held';

const answers: Readonly<Record<string, Answer>> = { 'claiming\n': 'claiming', 'held\n': 'held' };

const connectErrors: Readonly<Record<string, Answer>> = {
  ECONNREFUSED: 'stale',
  ENOENT: 'gone',
  ECONNRESET: 'unclear',
  EPIPE: 'unclear',
};

/**
 * Locks the folder, which must exist. If somebody removes the socket, or the whole folder, the server locks it again.
 * @throws Error, a sentence, if another server uses it
 */
export async function lockFolder(directory: string): Promise<FolderLock> {
  let claim = await claimFolder(directory);
  let isClaiming = false;
  let isReleased = false;
  const timer = setInterval(() => void claimAgain(), checkInterval).unref();
  const lock = {
    fault: undefined as string | undefined,
    release() {
      isReleased = true;
      clearInterval(timer);
      claim.release();
    },
  };
  return lock;

  async function claimAgain(): Promise<void> {
    const { path } = claim;
    // Without the folder, there is nothing to lock.
    if (isClaiming || path === undefined || existsSync(path) || !existsSync(directory)) return;
    isClaiming = true;
    try {
      const next = await claimFolder(directory);
      claim.release();
      claim = next;
      lock.fault = undefined;
      log('info', 'folder locked again', { folder: directory });
    } catch (error) {
      const reason = (error as Error).message;
      if (lock.fault === undefined) log('error', 'folder not locked again', { reason });
      lock.fault = reason;
    }
    isClaiming = false;
    if (isReleased) claim.release();
  }
}

interface Claim {
  /** The socket; undefined if the file system has none. */
  readonly path: string | undefined;
  release(): void;
}

async function claimFolder(directory: string): Promise<Claim> {
  const name = randomBytes(8).toString('hex');
  let state: State = 'claiming';
  const server = createServer({ pauseOnConnect: true }, socket => {
    socket.on('error', () => {});
    socket.end(`${state}\n`);
  });
  const path = join(directory, `${prefix}${name}`);
  try {
    await listenIn(server, directory, `${unpublished}${name}`);
    renameSync(join(directory, `${unpublished}${name}`), path);
  } catch (error) {
    server.close();
    if (!lacksSockets(error)) throw storageError('lock', directory, error);
    log('warn', 'folder not locked', { folder: directory, remedy: 'let only one server use it' });
    return { path: undefined, release() {} };
  }
  server.unref();
  const release = () => {
    removeIfThere(path);
    server.close();
  };
  try {
    await outlast(directory, name);
  } catch (error) {
    release();
    throw error;
  }
  state = 'held';
  return { path, release };
}

/** Some file systems have no sockets, and without /proc a long path cannot be shortened. */
function lacksSockets(error: unknown): boolean {
  return ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'ENAMETOOLONG'].includes(
    errorCode(error) ?? '',
  );
}

/** Returns when no other server claims the folder. @throws Error if one has it */
async function outlast(directory: string, name: string): Promise<void> {
  for (;;) {
    let isUndecided = false;
    for (const entry of readdirSync(directory)) {
      const other = entry.startsWith(prefix) ? entry.slice(prefix.length) : undefined;
      if (!/^\.?lock-[0-9a-f]{16}$/.test(entry) || other === name) continue;
      // Not published yet: its owner will see this server.
      if (other === undefined && !isOld(join(directory, entry))) continue;
      const answer = await ask(directory, entry);
      if (answer === 'stale') removeIfThere(join(directory, entry));
      else if (answer === 'unclear' || (answer === 'claiming' && name < other!)) isUndecided = true;
      else if (answer !== 'gone') {
        throw new Error(
          `another server uses ${directory}; stop that server, or choose another directory with --data`,
        );
      }
    }
    if (!isUndecided) return;
    // The other one sees this server, and gives way; or it has looked before, and has the folder.
    await new Promise(resolve => setTimeout(resolve, retryDelay));
  }
}

function isOld(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats !== undefined && Date.now() - stats.mtimeMs > publishTimeout;
}

type Answer = State | 'stale' | 'gone' | 'unclear';

/** What the owner of a lock says; `held` if it is too busy to answer, `unclear` if it ended meanwhile. */
function ask(directory: string, entry: string): Promise<Answer> {
  return new Promise(resolve => {
    const { path, close } = shortPath(directory, entry);
    const probe = createConnection(path);
    let answer = '';
    const settle = (outcome: Answer) => {
      clearTimeout(timer);
      probe.destroy();
      close();
      resolve(outcome);
    };
    const timer = setTimeout(() => settle('held'), answerTimeout);
    probe.setEncoding('latin1').on('data', (text: string) => {
      answer += text;
    });
    probe.on('end', () => settle(answers[answer] ?? 'unclear'));
    probe.on('error', error => settle(connectErrors[errorCode(error) ?? ''] ?? 'held'));
  });
}

function listenIn(server: NetServer, directory: string, entry: string): Promise<void> {
  const { path, close } = shortPath(directory, entry);
  return new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(path, () => {
      server.off('error', reject).on('error', () => {});
      resolve();
    });
  }).finally(close);
}

/** A path to the folder's entry that fits into a socket's address. @param close releases it @throws ENAMETOOLONG */
function shortPath(directory: string, entry: string): { path: string; close(): void } {
  const path = join(directory, entry);
  if (Buffer.byteLength(path) <= maxSocketPath) return { path, close() {} };
  if (process.platform !== 'linux')
    throw Object.assign(new Error('the path is too long for a socket'), { code: 'ENAMETOOLONG' });
  const descriptor = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  return { path: `/proc/self/fd/${descriptor}/${entry}`, close: () => closeSync(descriptor) };
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT')
      log('warn', 'stale lock remains', { file: path, error: String(error) });
  }
}
