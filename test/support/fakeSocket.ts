/** Connections without a network: their sockets keep what is written, and can be made to stall. */

import { newConnection } from '../../src/core/connection.ts';
import { sendMessage } from '../../src/core/send.ts';
import { newServer } from '../../src/core/server.ts';
import { readConfiguration } from '../../src/options/configuration.ts';
import type { Head } from '../../src/protocol/http/head.ts';
import { type DeflateContext, newDeflateContext } from '../../src/protocol/websocket/deflate.ts';
import { newEndpoint } from '../../src/protocol/websocket/endpoint.ts';
import type { Range } from '../../src/records/arena.ts';
import type { Connection, Handler, Server, Socket } from '../../src/records/records.ts';
import { addEntry, nextId } from '../../src/records/table.ts';
import { websocket } from '../../src/wires/websocket.ts';

export class FakeSocket implements Socket {
  isBusy = false;
  /** While set, a write stays in flight until `drain` is called, which reads its bytes. */
  isStuck = false;
  /** The error that the next write returns. */
  nextError = 0;
  isPaused = false;
  isShutDown = false;
  isDestroyed = false;
  /** The bytes of each write. */
  readonly writes: Buffer[] = [];
  private readonly peer: string;
  private inFlight: readonly { bytes: Buffer; start: number; end: number }[] = [];

  constructor(peer = '127.0.0.1:1') {
    this.peer = peer;
  }

  start(): void {}

  write(ranges: readonly Range[]): number {
    return this.begin(ranges.map(({ chunk, start, end }) => ({ bytes: chunk.bytes, start, end })));
  }

  writeOne(bytes: Buffer, start: number, end: number): number {
    return this.begin([{ bytes, start, end }]);
  }

  private begin(ranges: readonly { bytes: Buffer; start: number; end: number }[]): number {
    if (this.isBusy) throw new Error('written to while busy');
    const error = this.nextError;
    this.nextError = 0;
    if (error !== 0) return error;
    this.inFlight = ranges;
    if (this.isStuck) this.isBusy = true;
    else this.take();
    return 0;
  }

  /** Completes the write in flight, with the bytes as they are now. */
  drain(): void {
    this.take();
    this.isBusy = false;
  }

  private take(): void {
    this.writes.push(Buffer.concat(this.inFlight.map(({ bytes, start, end }) => bytes.subarray(start, end))));
    this.inFlight = [];
  }

  /** The bytes of all completed writes. */
  written(): Buffer {
    return Buffer.concat(this.writes);
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  unsent(): number {
    return this.inFlight.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  keepAlive(): void {}

  shutdown(): void {
    this.isShutDown = true;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  address(): string {
    return this.peer;
  }
}

/** @param options as on the command line */
export function newFakeServer(...options: string[]): Server {
  return { ...newServer(readConfiguration(options, {}, ['echo', 'broadcast'])), now: 1 };
}

/** The head of a handshake without options. */
export const plainRequest: Head = {
  method: 'GET',
  target: '/',
  path: '/',
  query: '',
  version: '1.1',
  headers: new Map(),
  bodyLength: 0,
};

export interface FakeConnection {
  readonly connection: Connection;
  readonly socket: FakeSocket;
}

/** A WebSocket connection after its handshake. */
export function openFakeConnection(
  server: Server,
  handler: Handler | undefined,
  deflater?: DeflateContext,
): FakeConnection {
  const socket = new FakeSocket();
  const connection = newConnection(server, nextId(server.table), socket, websocket);
  addEntry(server.table, connection);
  server.connections++;
  connection.handler = handler;
  const inflater = deflater === undefined ? undefined : newDeflateContext(deflater.keepsContext, 15);
  connection.endpoint = newEndpoint('server', server.configuration.maxMessage, inflater, deflater);
  return { connection, socket };
}

/** The bytes that are queued and not yet written. */
export function queuedBytes({ queue }: Connection): Buffer {
  const ranges: Range[] = [...(queue.inFlight ?? []), ...(queue.earlier ?? [])];
  if (queue.chunk !== undefined) ranges.push({ chunk: queue.chunk, start: queue.start, end: queue.end });
  return Buffer.concat(ranges.map(({ chunk, start, end }) => chunk.bytes.subarray(start, end)));
}

export function sendText(connection: Connection, text: string): void {
  const bytes = Buffer.from(text);
  sendMessage(connection, true, bytes, 0, bytes.length);
}
