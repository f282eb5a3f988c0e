/**
 * Unix sockets are reached by a file, which anyone may remove: a cleaner of /tmp, the end of a login session, a deployment. The
 * server notices nothing by itself, so a reload looks, and listens there again.
 */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Listener, Server } from '../core/server.ts';
import type { Wire } from '../core/wire.ts';
import { log } from '../log/log.ts';
import type { ListenAddress } from '../options/addresses.ts';
import { controlPlace, type Places } from '../options/places.ts';
import { makeFolder } from '../storage/disk.ts';
import { openListener, removeStaleSocket } from './listeners.ts';

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
export async function openControl(server: Server, usual: Places, wire: Wire): Promise<void> {
  const isUsual = server.configuration.control === 'auto';
  const path = controlPlace(server.configuration, usual);
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
