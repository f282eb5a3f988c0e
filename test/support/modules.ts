/** Folders of modules, and a server without sockets that loads them. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSession } from '../../src/core/processData.ts';
import { readSocketData } from '../../src/core/readSocketData.ts';
import { echo } from '../../src/handlers/echo.ts';
import { startModules } from '../../src/handlers/modules/modules.ts';
import type { Head } from '../../src/protocol/http/head.ts';
import type { Connection, Server } from '../../src/records/records.ts';
import { newFakeServer, openFakeConnection, plainRequest, queuedBytes } from './fakeSocket.ts';
import { FrameReader, frame, opcode } from './rawFrame.ts';
import { temporaryFolder } from './temporaryFolder.ts';

export interface Folder {
  readonly path: string;
  /** Writes a file in one step, so that a watcher never sees half of it. */
  write(name: string, source: string): void;
  remove(name: string): void;
}

/** Makes a folder with these files. */
export function newFolder(files: Readonly<Record<string, string>> = {}): Folder {
  const path = temporaryFolder();
  const aside = temporaryFolder();
  const folder: Folder = {
    path,
    write(name, source) {
      mkdirSync(join(path, name, '..'), { recursive: true });
      writeFileSync(join(aside, 'file'), source);
      renameSync(join(aside, 'file'), join(path, name));
    },
    remove: name => rmSync(join(path, name)),
  };
  for (const [name, source] of Object.entries(files)) folder.write(name, source);
  return folder;
}

/** A server with the folder's modules and the handler `echo`. @param options further ones, as on the command line */
export async function loadAll(folder: Pick<Folder, 'path'>, ...options: string[]): Promise<Server> {
  const server = newFakeServer('--handlers', folder.path, ...options);
  server.handlers.set('echo', echo);
  await startModules(server);
  return server;
}

/** Reloads the modules as the command `reload` does. @returns what has changed. @throws Error if nothing has changed */
export async function reload(server: Server): Promise<readonly string[]> {
  const commits = await Promise.all(
    server.reloadables.map(reloadable => reloadable.prepare(server.configuration)),
  );
  return commits.flatMap(commit => commit());
}

export interface Client {
  readonly connection: Connection;
  /** Sends messages, all at once. */
  say(...texts: (string | Buffer)[]): void;
  /** Sends frames, behind the input that is still unread. */
  send(...frames: Buffer[]): void;
  /** Takes what has arrived: texts as they are, close frames as `close CODE REASON`, binary as `<hex>`. */
  heard(): string[];
}

/** Opens a connection with the handler of this name. */
export function connect(server: Server, name: string, request: Partial<Head> = {}): Client {
  const handler = server.handlers.get(name);
  if (handler === undefined) throw new Error(`there is no handler ${name}`);
  const { connection } = openFakeConnection(server, undefined);
  openSession(connection, handler, { ...plainRequest, ...request });
  let seen = 0;
  return {
    connection,
    say(...texts) {
      this.send(...texts.map(text => frame(typeof text === 'string' ? opcode.text : opcode.binary, text)));
    },
    send(...frames) {
      const { input, inputStart, inputEnd } = connection;
      const waiting = input?.subarray(inputStart, inputEnd) ?? Buffer.alloc(0);
      const bytes = Buffer.concat([waiting, ...frames]);
      connection.inputStart = readSocketData(connection, bytes, 0, bytes.length);
      connection.inputEnd = bytes.length;
      connection.input = bytes;
    },
    heard() {
      const bytes = queuedBytes(connection);
      const reader = new FrameReader();
      reader.add(bytes.subarray(seen));
      seen = bytes.length;
      const all: string[] = [];
      for (let next = reader.next(); next !== undefined; next = reader.next()) {
        const { payload } = next;
        if (next.opcode === opcode.text) all.push(payload.toString());
        else if (next.opcode === opcode.close)
          all.push(`close ${payload.readUInt16BE(0)} ${payload.subarray(2)}`);
        else all.push(`<${payload.toString('hex')}>`);
      }
      return all;
    },
  };
}

/** Waits until the reactions to settled promises have run. */
export function settle(): Promise<void> {
  return new Promise(setImmediate);
}
