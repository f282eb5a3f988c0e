/** Where connections come from. */
import { chmodSync, chownSync, existsSync, lstatSync, statSync, unlinkSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer, type Server as NetServer } from 'node:net';
import { dirname } from 'node:path';
import { descriptorsInUse, usableDescriptors } from '../core/descriptors.ts';
import { showAddress } from '../core/peer.ts';
import { onAccept } from '../core/poll.ts';
import type { Listener, Server } from '../core/server.ts';
import type { Socket } from '../core/socket.ts';
import { addEntry, nextId, removeEntry } from '../core/table.ts';
import type { Wire } from '../core/wire.ts';
import { log } from '../log/log.ts';
import type { ListenAddress, UnixAddress } from '../options/addresses.ts';
import { showListenAddress } from '../options/addresses.ts';
import { controlPath, type DefaultPaths } from '../options/paths.ts';
import { groupId } from '../process/groups.ts';
import { acceptReserve } from '../protocol/limits.ts';
import { makeFolder } from '../storage/disk.ts';
import { HandleSocket, isUsableHandle } from './handleSocket.ts';
import { StreamSocket } from './streamSocket.ts';

/**
 * Listens, and puts the listener into the table.
 * @param isControl commands come in here: a Unix socket is its user's alone then
 * @throws Error, a sentence, where that is not possible
 */
export async function openListener(
  server: Server,
  address: ListenAddress,
  firstWire: Wire,
  isControl = false,
): Promise<Listener> {
  // Half open: a peer that has sent everything may still be told something.
  const net = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const accept = (socket: Socket) => onAccept(server, socket, listener, mayAcceptMore(server));
  net.on('connection', stream => accept(new StreamSocket(stream)));
  await bind(net, address, isControl);
  net.on('error', error => log('warn', 'accept failed', { error: error.message }));
  const bound = net.address() as AddressInfo | string | null;
  const isTcp = typeof bound === 'object' && bound !== null;
  const ownScheme = server.configuration.tlsOnly ? 'wss' : 'ws';
  const scheme = address.greeting === undefined ? ownScheme : 'tcp';
  const isCutOff = address.transport === 'unix' ? watchSocketFile(address.path) : () => false;
  const url = isTcp ? `${scheme}://${showAddress(bound.address, bound.port)}` : showListenAddress(address);
  const listener: Listener = {
    kind: 'listener',
    id: nextId(server.table),
    url,
    port: isTcp ? bound.port : undefined,
    firstWire,
    isControl,
    isCutOff,
    close() {
      // Closing removes the file of that name (libuv does), which may be another server's by now.
      if (isCutOff() && isThere(address)) net.unref();
      else net.close();
      removeEntry(server.table, listener.id);
      server.descriptors.listeners--;
    },
  };
  if (server.configuration.sockets === 'auto') acceptHandles(net, accept);
  addEntry(server.table, listener);
  server.descriptors.listeners++;
  log('info', 'listening', { id: listener.id, url });
  return listener;
}

/** @returns whether another file, or none, has that path by now */
function watchSocketFile(path: string): () => boolean {
  const identity = identityOf(path);
  return () => identityOf(path) !== identity;
}

/** @returns undefined where there is nothing */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = lstatSync(path);
    return `${dev} ${ino}`;
  } catch {
    return undefined;
  }
}

function isThere(address: ListenAddress): boolean {
  return address.transport === 'unix' && identityOf(address.path) !== undefined;
}

/** Until the turn drops as many others as have come, the connections accepted since the last one may use some of the reserve. */
function mayAcceptMore(server: Server): boolean {
  const room = usableDescriptors(server) + acceptReserve - descriptorsInUse(server);
  return server.ready.accepted.length < room;
}

/** Takes accepted handles as they are, before Node makes a `net.Socket` of each. */
function acceptHandles(net: NetServer, takeSocket: (socket: Socket) => void): void {
  type Accept = (this: unknown, error: number, handle: unknown) => void;
  const handle = (net as unknown as { _handle?: { onconnection?: Accept } })._handle;
  const accept = handle?.onconnection;
  if (handle === undefined || typeof accept !== 'function') return;
  handle.onconnection = function (error, accepted) {
    if (error === 0 && isUsableHandle(accepted)) takeSocket(new HandleSocket(accepted));
    else accept.call(this, error, accepted);
  };
}

async function bind(net: NetServer, address: ListenAddress, isPrivate: boolean): Promise<void> {
  try {
    if (address.transport === 'unix') {
      await removeStaleSocket(address.path);
      await listenUnix(net, isPrivate ? { ...address, mode: 0o600 } : address);
    } else if (address.transport === 'inherited') {
      await listen(net, { fd: address.fd, backlog });
    } else {
      await listenTcp(net, address.host, address.port);
    }
  } catch (error) {
    throw new Error(explain(error as NodeJS.ErrnoException, address, isPrivate));
  }
}

const backlog = 4096;

/**
 * Node binds, and so makes the file, before `listen` returns: the file has its mode from the start. A group gets its
 * permissions when the file is its own.
 */
async function listenUnix(net: NetServer, { path, mode, group }: UnixAddress): Promise<void> {
  const id = group === undefined ? undefined : groupId(group);
  const first = mode ?? 0o777 & ~process.umask();
  const before = process.umask(0o777 & ~(id === undefined ? first : first & 0o700));
  const listening = listen(net, { path, backlog });
  process.umask(before);
  await listening;
  if (id === undefined) return;
  try {
    chownSync(path, -1, id);
    chmodSync(path, first);
  } catch (error) {
    net.close();
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(
      code === 'EPERM' ? `only root and members of the group ${group} can give it the socket` : message,
    );
  }
}

async function listenTcp(net: NetServer, host: string, port: number): Promise<void> {
  try {
    await listen(net, { host, port, backlog });
  } catch (error) {
    // `::` is every interface, of IPv4 too; a system without IPv6 has the latter alone.
    if (host !== '::' || (error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT') throw error;
    await listen(net, { host: '0.0.0.0', port, backlog });
  }
}

function listen(net: NetServer, options: object): Promise<void> {
  return new Promise((resolve, reject) => {
    net.once('error', reject);
    net.listen(options, () => {
      net.off('error', reject);
      resolve();
    });
  });
}

/** A socket file that nobody listens at is what a killed server leaves behind. @throws Error where there is no socket */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new Error('there is a file of this name, and it is no socket; choose another path');
  const isLive = await new Promise<boolean>(resolve => {
    const probe = createConnection(path);
    probe
      .once('connect', () => resolve(true))
      .once('error', error => {
        resolve((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED');
      });
    probe.once('connect', () => probe.destroy());
  });
  if (!isLive) unlinkSync(path);
}

/** What, why, and what to do. */
function explain(error: NodeJS.ErrnoException, address: ListenAddress, isPrivate: boolean): string {
  const where = showListenAddress(address);
  if (address.transport === 'inherited') {
    return `cannot listen on ${where}: ${error.message}; it must be a listening socket, left open by the process that started this one`;
  }
  switch (error.code) {
    case 'EADDRINUSE':
      return `cannot listen on ${where}: it is in use; stop the program that uses it, or choose another with ${optionNameFor(address, isPrivate)}`;
    case 'EACCES':
      // Of a Unix socket it is said as well where there is no such folder.
      if (address.transport === 'unix' && isMissing(dirname(address.path)))
        return `cannot listen on ${where}: there is no such folder; make it, or choose another with ${optionNameFor(address, isPrivate)}`;
      return address.transport === 'unix'
        ? `cannot listen on ${where}: permission denied; choose another with ${optionNameFor(address, isPrivate)}, in a folder that this user may write to`
        : `cannot listen on ${where}: permission denied; ports below 1024 are root's, so choose a higher one`;
    case 'ENOTDIR':
      return `cannot listen on ${where}: there is a file where a folder should be; choose another with ${optionNameFor(address, isPrivate)}`;
    case 'EADDRNOTAVAIL':
      return `cannot listen on ${where}: this machine has no such address`;
    case 'ENOTFOUND':
      return `cannot listen on ${where}: there is no host of this name`;
    default:
      return `cannot listen on ${where}: ${error.message}`;
  }
}

function isMissing(folder: string): boolean {
  try {
    return statSync(folder, { throwIfNoEntry: false }) === undefined;
  } catch {
    // This user may not look there.
    return false;
  }
}

/** The socket that commands come in by is the only private one. */
function optionNameFor({ transport }: ListenAddress, isPrivate: boolean): string {
  if (isPrivate) return '--control';
  return transport === 'unix' ? '--listen' : '--port or --listen';
}

/**
 * Unix sockets are reached by a file, which anyone may remove: a cleaner of /tmp, the end of a login session, a deployment. The
 * server notices nothing by itself, so a reload looks, and listens there again.
 */

/** Listens for clients, and again if a reload finds that the socket's file is gone. @throws Error, a sentence */
export async function openLastingListener(
  server: Server,
  address: ListenAddress,
  firstWire: Wire,
): Promise<Listener> {
  const listener = await openListener(server, address, firstWire);
  if (address.transport === 'unix')
    reopenOnReload(server, address.path, listener, () => openListener(server, address, firstWire));
  return listener;
}

/**
 * Listens for commands, where they are to come in. Two servers may run side by side: then the second one can do without its
 * usual place, but not without a named one. A reload tries again.
 * @throws Error, a sentence, where a named place cannot be had
 */
export async function openControl(server: Server, usual: DefaultPaths, wire: Wire): Promise<void> {
  const isUsual = server.configuration.control === 'auto';
  const path = controlPath(server.configuration, usual);
  if (path === undefined) return;
  const open = () => {
    if (isUsual) tryToMakeFolder(dirname(path));
    return openListener(server, { transport: 'unix', path }, wire, true);
  };
  let listener: Listener | undefined;
  try {
    listener = await open();
  } catch (error) {
    if (!isUsual) throw error;
    log('warn', 'no commands', { reason: (error as Error).message });
  }
  reopenOnReload(server, path, listener, open);
}

/** Where it cannot be made, listening will say why not. */
function tryToMakeFolder(path: string): void {
  try {
    makeFolder(path);
  } catch {}
}

function reopenOnReload(
  server: Server,
  path: string,
  first: Listener | undefined,
  open: () => Promise<Listener>,
): void {
  let listener = first;
  // First, and not only when it is committed: a reload that fails is to leave a way in for the next one.
  server.reloadables.unshift({
    async prepare() {
      if (server.isDraining || listener?.isCutOff() === false) return () => [];
      try {
        await removeOldFile(path);
        // First: closing removes the file of that name.
        listener?.close();
        listener = undefined;
        listener = await open();
        return () => [`unix:${path} is listened on again`];
      } catch (error) {
        // The second of two servers side by side was told at the start.
        if (first === undefined) return () => [];
        const reason = (error as Error).message;
        log('warn', 'not listening again', { path, reason });
        return () => [`unix:${path} is not listened on: ${reason}`];
      }
    },
  });
}

/** @throws Error, a sentence, where something else has taken the place */
async function removeOldFile(path: string): Promise<void> {
  await removeStaleSocket(path);
  if (existsSync(path))
    throw new Error('another server listens there by now; stop that one, and reload this one');
}
