/** Listening sockets: TCP ports, Unix sockets and inherited descriptors. */
import { chmodSync, chownSync, existsSync, lstatSync, statSync, unlinkSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer, type Server as NetServer } from 'node:net';
import { dirname } from 'node:path';
import { descriptorsInUse, usableDescriptors } from '../core/descriptors.ts';
import { onAccept } from '../core/poll.ts';
import { log } from '../log/log.ts';
import type { ListenAddress, UnixAddress } from '../options/addresses.ts';
import { showListenAddress } from '../options/addresses.ts';
import { controlPath, type DefaultPaths } from '../options/paths.ts';
import { groupId } from '../process/system.ts';
import { showAddress } from '../protocol/ipAddress.ts';
import { acceptReserve } from '../protocol/limits.ts';
import type { Listener, Server, Wire } from '../records/records.ts';
import { addEntry, nextId, removeEntry } from '../records/table.ts';
import { makeFolder } from '../storage/disk.ts';
import { HandleSocket, isUsableHandle } from './handleSocket.ts';
import { StreamSocket } from './streamSocket.ts';

/**
 * Listens on an address, and adds the listener to the table.
 * @param isControl whether it accepts commands; then only the user may open the Unix socket
 * @throws Error whose message is a sentence for the user
 */
export async function openListener(
  server: Server,
  address: ListenAddress,
  firstWire: Wire,
  isControl = false,
): Promise<Listener> {
  // A peer that has ended its direction may still await an answer.
  const net = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const accept = (socket: HandleSocket | StreamSocket) => {
    if (inBackground.has(server)) socket.unref();
    onAccept(server, socket, listener, mayAcceptMore(server));
  };
  net.on('connection', stream => accept(new StreamSocket(stream)));
  await bind(server, net, address, isControl);
  net.on('error', error => log('warn', 'accept failed', { error: error.message }));
  const bound = net.address() as AddressInfo | string | null;
  const isTcp = typeof bound === 'object' && bound !== null;
  const ownScheme = server.configuration.tlsOnly ? 'wss' : 'ws';
  const scheme = address.greeting === undefined ? ownScheme : 'tcp';
  const isCutOff = address.transport === 'unix' ? socketFileCheck(address.path) : () => false;
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
      // libuv unlinks the socket's path on close, even if another server's socket has it by now.
      if (isCutOff() && isThere(address)) net.unref();
      else net.close();
      removeEntry(server.table, listener.id);
      server.descriptors.listeners--;
    },
  };
  if (server.configuration.sockets === 'auto') acceptHandles(net, accept);
  netServers.set(listener, net);
  if (inBackground.has(server)) net.unref();
  addEntry(server.table, listener);
  server.descriptors.listeners++;
  log('info', 'listening', { id: listener.id, url });
  return listener;
}

const netServers = new WeakMap<Listener, NetServer>();

/** Servers whose sockets do not keep the process alive. */
const inBackground = new WeakSet<Server>();

/** Lets the process exit while the server is open. */
export function unrefServer(server: Server): void {
  inBackground.add(server);
  for (const entry of server.table.entries) {
    if (entry?.kind === 'listener') netServers.get(entry)?.unref();
    else if (entry?.socket instanceof HandleSocket || entry?.socket instanceof StreamSocket)
      entry.socket.unref();
  }
}

/** @returns a function that tells whether the path now has another file, or none */
function socketFileCheck(path: string): () => boolean {
  const identity = identityOf(path);
  return () => identityOf(path) !== identity;
}

/** @returns undefined if there is no file */
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

/** Whether a descriptor is free. Until the turn drops idle connections to make room, new ones may use a part of the reserve. */
function mayAcceptMore(server: Server): boolean {
  const room = usableDescriptors(server) + acceptReserve - descriptorsInUse(server);
  return server.ready.accepted.length < room;
}

/** Accepts bare handles, before Node wraps each in a `net.Socket`. */
function acceptHandles(net: NetServer, takeSocket: (socket: HandleSocket) => void): void {
  type Accept = (this: unknown, error: number, handle: unknown) => void;
  const handle = (net as unknown as { _handle?: { onconnection?: Accept } })._handle;
  const accept = handle?.onconnection;
  if (handle === undefined || typeof accept !== 'function') return;
  handle.onconnection = function (error, accepted) {
    if (error === 0 && isUsableHandle(accepted)) takeSocket(new HandleSocket(accepted));
    else accept.call(this, error, accepted);
  };
}

async function bind(
  server: Server,
  net: NetServer,
  address: ListenAddress,
  isControl: boolean,
): Promise<void> {
  try {
    if (address.transport === 'unix') {
      await removeStaleSocket(address.path);
      await listenUnix(net, isControl ? { ...address, mode: 0o600 } : address);
    } else if (address.transport === 'inherited') {
      await listen(net, { fd: address.fd, backlog });
    } else {
      await listenTcp(net, address.host, address.port);
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const option = optionNameFor(server, address, isControl, code === 'EADDRINUSE' ? '--port' : '--host');
    throw new Error(explain(code, message, address, option));
  }
}

const backlog = 4096;

/**
 * Node creates the file within `listen`, so the umask gives it the right mode from the start. The group's permissions are added
 * only after the file has its group.
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
      code === 'EPERM'
        ? `only root and members of the group ${group} can give the socket to that group`
        : message,
    );
  }
}

async function listenTcp(net: NetServer, host: string, port: number): Promise<void> {
  try {
    await listen(net, { host, port, backlog });
  } catch (error) {
    // `::` is every interface, including IPv4. On a system without IPv6, listen on all of IPv4.
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

/** Removes the socket file of a server that was killed. @throws Error if the path has a file that is not a socket */
async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new Error('there is a file at this path that is not a socket; choose another path');
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

/** An error as a sentence: what failed, why, and what to do. @param option to choose another address */
function explain(code: string | undefined, message: string, address: ListenAddress, option: string): string {
  const where = showListenAddress(address);
  if (address.transport === 'inherited') {
    return `cannot listen on ${where}: ${message}; it must be a listening socket that the parent process has left open`;
  }
  switch (code) {
    case 'EADDRINUSE':
      return `cannot listen on ${where}: another program uses it; stop that program, or choose another address with ${option}`;
    case 'EACCES':
      // For a Unix socket, libuv reports a missing folder as EACCES.
      if (address.transport === 'unix' && isMissing(dirname(address.path)))
        return `cannot listen on ${where}: there is no such folder; make it, or choose another with ${option}`;
      return address.transport === 'unix'
        ? `cannot listen on ${where}: permission denied; choose another with ${option}, in a folder that this user can write to`
        : `cannot listen on ${where}: permission denied; ports below 1024 need root, so choose a higher one`;
    case 'ENOTDIR':
      return `cannot listen on ${where}: there is a file where a folder should be; choose another with ${option}`;
    case 'EADDRNOTAVAIL':
      return `cannot listen on ${where}: this machine does not have that address; choose an address of this machine, or :: for all, with ${option}`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `cannot listen on ${where}: that host name is unknown; choose an address of this machine, or :: for all, with ${option}`;
    default:
      return `cannot listen on ${where}: ${message}`;
  }
}

function isMissing(folder: string): boolean {
  try {
    return statSync(folder, { throwIfNoEntry: false }) === undefined;
  } catch {
    // This user has no permission to look.
    return false;
  }
}

/** The option that sets the address. @param part the option for a part of the usual address */
function optionNameFor(
  { configuration }: Server,
  address: ListenAddress,
  isControl: boolean,
  part: '--host' | '--port',
): string {
  if (isControl) return '--control';
  if (configuration.metricsListen.includes(address)) return '--metrics-listen';
  return address.transport === 'unix' ? '--listen' : `${part} or --listen`;
}

/**
 * Listens for clients. The file of a Unix socket may be removed by a /tmp cleaner, the end of a login session, or a
 * deployment, and the server is not notified; so a reload checks the file, and listens again if it is gone.
 * @throws Error whose message is a sentence for the user
 */
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
 * Listens for commands on the control socket. If the default path is in use by a second server, the server runs without
 * one, and a reload tries again; a path from `--control` must work.
 * @throws Error whose message is a sentence for the user
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
    log('warn', 'control socket unavailable', { reason: (error as Error).message });
  }
  reopenOnReload(server, path, listener, open);
}

/** If this fails, listening fails too, and explains why. */
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
  // Runs first, and before the commit: even a failed reload must restore the control socket for the next one.
  server.reloadables.unshift({
    async prepare() {
      if (server.isDraining || listener?.isCutOff() === false) return () => [];
      try {
        await removeOldFile(path);
        // Close before listening: closing unlinks the path.
        listener?.close();
        listener = undefined;
        listener = await open();
        return () => [`listening again on unix:${path}`];
      } catch (error) {
        // The startup log already said that another server uses the default path.
        if (first === undefined) return () => [];
        const reason = (error as Error).message;
        log('warn', 'not listening again', { path, reason });
        return () => [`not listening on unix:${path}: ${reason}`];
      }
    },
  });
}

/** @throws Error if another server listens on this path */
async function removeOldFile(path: string): Promise<void> {
  await removeStaleSocket(path);
  if (existsSync(path))
    throw new Error('another server listens there now; stop that one, then reload this one');
}
