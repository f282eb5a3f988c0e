/** A client of the inspector, in place of its page. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import {
  inspectorPath,
  inspectorSubprotocol,
  type PageMessage,
  type ServerMessage,
} from '../../src/handlers/inspector/messages.ts';

type Of<Type extends ServerMessage['type']> = Extract<ServerMessage, { readonly type: Type }>;

export interface InspectorClient {
  send(message: PageMessage): void;
  /** Sends any text. */
  sendRaw(text: string): void;
  /** Waits for the next message of this type that fits, and drops those before it. @throws Error if the server refuses a message or the connection ends first */
  next<Type extends ServerMessage['type']>(
    type: Type,
    fits?: (message: Of<Type>) => boolean,
  ): Promise<Of<Type>>;
  /** Resolves when the connection has ended. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  close(): void;
  /** Stops and resumes reading from the socket. */
  pause(): void;
  resume(): void;
}

export interface InspectorSettings {
  /** Sent in `enter`; `null`: nothing is sent. */
  readonly token?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  readonly path?: string;
}

/** Connects like a page of this server on this machine, except for the given headers. @throws Error with the status of a refusal */
export async function openInspector(
  port: number,
  settings: InspectorSettings = {},
): Promise<InspectorClient> {
  const { token, headers = {}, path = inspectorPath } = settings;
  const own = { Host: `localhost:${port}`, Origin: `http://localhost:${port}` };
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, inspectorSubprotocol, {
    headers: { ...own, ...headers },
  });
  const pending: ServerMessage[] = [];
  let wake = () => {};
  let isOver = false;
  const closed = new Promise<{ code: number; reason: string }>(resolve => {
    socket.on('close', (code, reason) => {
      isOver = true;
      wake();
      resolve({ code, reason: String(reason) });
    });
  });
  socket.on('message', data => {
    pending.push(JSON.parse(String(data)) as ServerMessage);
    wake();
  });
  await Promise.race([
    once(socket, 'open'),
    once(socket, 'unexpected-response').then(([, response]) => refuse(response)),
  ]);
  const client: InspectorClient = {
    send: message => socket.send(JSON.stringify(message)),
    sendRaw: text => socket.send(text),
    async next(type, fits = () => true) {
      for (;;) {
        const message = pending.shift();
        if (message?.type === type && fits(message as never)) return message as never;
        if (message?.type === 'failed')
          throw new Error(`the server refused "${message.about}": ${message.why}`);
        if (message !== undefined) continue;
        if (isOver) throw new Error(`the inspector's connection ended before a message "${type}"`);
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
    },
    closed,
    close: () => socket.close(),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  };
  if (token !== null) client.send({ type: 'enter', ...(token === undefined ? {} : { token }) });
  return client;
}

async function refuse(response: IncomingMessage): Promise<never> {
  const pieces = (await response.toArray()) as Buffer[];
  throw new Error(`${response.statusCode} ${Buffer.concat(pieces).toString().trim()}`);
}
