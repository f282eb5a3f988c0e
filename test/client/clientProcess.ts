/** The project's own client, dist/client.js, as a child process, and servers that a test controls. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type WebSocket, WebSocketServer } from 'ws';
import { acceptValueFor } from '../../src/protocol/websocket/handshake.ts';

export const clientScript = fileURLToPath(new URL('../../../dist/client.js', import.meta.url));

export interface ClientResult {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface ClientProcess {
  readonly child: ChildProcessWithoutNullStreams;
  stdout(): string;
  stderr(): string;
  /** Waits until stdout contains this text. @throws Error if the client ends without it */
  untilPrinted(text: string): Promise<void>;
  readonly result: Promise<ClientResult>;
}

/** Starts a client that is killed with the test. Its stdin stays open, and its output is collected unless the test reads it. */
export function startClient(t: TestContext, ...commandLine: string[]): ClientProcess {
  const child = spawn(process.execPath, [clientScript, ...commandLine]);
  t.after(() => child.kill('SIGKILL'));
  // Writing to a client that has ended fails.
  child.stdin.on('error', () => {});
  const out: Buffer[] = [];
  let errors = '';
  child.stdout.on('data', chunk => out.push(chunk));
  child.stderr.setEncoding('utf8').on('data', chunk => {
    errors += chunk;
  });
  const stdout = () => Buffer.concat(out).toString('utf8');
  const result = once(child, 'close').then(([status]) => ({
    status: status as number | null,
    stdout: Buffer.concat(out),
    stderr: errors,
  }));
  return {
    ...{ child, stdout, result },
    stderr: () => errors,
    async untilPrinted(text) {
      while (!stdout().includes(text) && !errors.includes(text)) {
        const ended = await Promise.race([
          once(child.stdout, 'data').then(() => false),
          once(child.stderr, 'data').then(() => false),
          result.then(() => true),
        ]);
        if (ended && !stdout().includes(text) && !errors.includes(text)) {
          throw new Error(`the client ended without ${JSON.stringify(text)}: ${stdout()}${errors}`);
        }
      }
    },
  };
}

/** Runs a client with this stdin until it ends. */
export function runClient(
  t: TestContext,
  commandLine: readonly string[],
  stdin: string | Uint8Array = '',
): Promise<ClientResult> {
  const { child, result } = startClient(t, ...commandLine);
  child.stdin.end(stdin);
  return result;
}

/** A server made with npm's ws. @returns its URL */
export async function startWs(
  t: TestContext,
  connected: (socket: WebSocket, headers: NodeJS.Dict<string | string[]>) => void,
  options: object = {},
): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', ...options });
  server.on('connection', (socket, request) => connected(socket, request.headers));
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  await once(server, 'listening');
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

export interface RawPeer {
  readonly socket: Socket;
  /** The request's head. */
  readonly request: string;
  /** The response that accepts the handshake. */
  readonly response: string;
}

/** A TCP server that reads the request, and leaves the rest to the test. @returns its URL */
export async function startRaw(t: TestContext, requested: (peer: RawPeer) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    let request = '';
    const read = (chunk: Buffer) => {
      request += chunk.toString('latin1');
      if (!request.endsWith('\r\n\r\n')) return;
      socket.off('data', read);
      const [, key = ''] = /^sec-websocket-key: (.*)\r$/im.exec(request) ?? [];
      const fields = [
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Accept: ${acceptValueFor(key)}`,
      ];
      const response = `HTTP/1.1 101 Switching Protocols\r\n${fields.join('\r\n')}\r\n\r\n`;
      requested({ socket, request, response });
    };
    socket.on('data', read);
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
