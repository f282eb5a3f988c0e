/** Subscribers of channels, one for each transport. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { ask, requestBytes } from './pollClient.ts';
import { connectTcp } from './rawClient.ts';

/** A WebSocket whose messages are taken one by one: a string for a text, a Buffer for bytes. */
export interface SocketSubscriber {
  readonly socket: WebSocket;
  next(): Promise<string | Buffer>;
  /** The next message as JSON. */
  nextJson(): Promise<Record<string, unknown>>;
  send(command: object): void;
  readonly received: readonly (string | Buffer)[];
}

export async function openSocket(
  port: number,
  path: string,
  protocols: string[] = [],
  headers: Record<string, string> = {},
): Promise<SocketSubscriber> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { headers });
  const received: (string | Buffer)[] = [];
  let wake = () => {};
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    received.push(isBinary ? data : data.toString());
    wake();
  });
  socket.on('close', () => wake());
  await once(socket, 'open');
  const client: SocketSubscriber = {
    socket,
    received,
    async next() {
      while (received.length === 0) {
        if (socket.readyState >= WebSocket.CLOSING) throw new Error('the socket is closed');
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
      return received.shift()!;
    },
    async nextJson() {
      return JSON.parse(String(await client.next()));
    },
    send: command => socket.send(JSON.stringify(command)),
  };
  return client;
}

/** An event of a stream: its fields, of which `data` may have lines. */
export type StreamEvent = Readonly<Partial<Record<'id' | 'event' | 'data' | 'retry', string>>>;

export interface EventSubscriber {
  readonly socket: Socket;
  /** The next event, with comments left out; undefined at the end. */
  next(): Promise<StreamEvent | undefined>;
  /** Everything that has arrived. */
  text(): string;
}

/** Reads an event stream as the HTML standard says. */
export async function openEvents(
  port: number,
  path: string,
  headers: Record<string, string> = {},
): Promise<EventSubscriber> {
  const socket = await connectTcp(port);
  let text = '';
  let at = -1;
  let isOver = false;
  let wake = () => {};
  socket.setEncoding('utf8').on('data', piece => {
    text += piece;
    wake();
  });
  socket.on('error', () => {});
  for (const end of ['end', 'close'])
    socket.on(end, () => {
      isOver = true;
      wake();
    });
  socket.write(requestBytes('GET', path, { headers: { Accept: 'text/event-stream', ...headers } }));
  const more = () =>
    new Promise<void>(resolve => {
      wake = resolve;
    });
  return {
    socket,
    text: () => text,
    async next() {
      while (at < 0) {
        const end = text.indexOf('\r\n\r\n');
        if (end >= 0) at = end + 4;
        else if (isOver) throw new Error(`no event stream: ${text}`);
        else await more();
      }
      for (;;) {
        const end = text.indexOf('\n\n', at);
        if (end >= 0) {
          const event = readEvent(text.slice(at, end));
          at = end + 2;
          if (Object.keys(event).length > 0) return event;
        } else if (isOver) return undefined;
        else await more();
      }
    },
  };
}

function readEvent(block: string): StreamEvent {
  const event: Record<string, string> = {};
  for (const line of block.split('\n')) {
    const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (name === '') continue;
    event[name] = name === 'data' && event['data'] !== undefined ? `${event['data']}\n${value}` : value;
  }
  return event;
}

export interface ChannelPoll {
  readonly messages: readonly Record<string, unknown>[];
  readonly last: string;
  readonly gap?: readonly string[];
}

/** Polls once. @throws Error if the answer is not 200 */
export async function pollChannel(port: number, path: string): Promise<ChannelPoll> {
  const { status, body } = await ask(port, 'GET', path);
  if (status !== 200) throw new Error(`${status} ${body}`);
  return JSON.parse(body);
}
