/** A chat user at a terminal: a TCP socket that sends text and reads lines. */
import type { Socket } from 'node:net';
import { connectTcp } from './rawClient.ts';

export interface LineClient {
  readonly socket: Socket;
  /** Sends the text, which must include its line ends. */
  send(text: string | Uint8Array): void;
  /** Waits for the next line; undefined once the server has ended its direction. */
  line(): Promise<string | undefined>;
  /** Reads up to the line `text`. @returns the lines before it. @throws Error if the stream ends first */
  linesUntil(text: string): Promise<string[]>;
  /** Waits for the end of the stream. @returns all remaining lines */
  rest(): Promise<string[]>;
}

export async function connectLines(port: number): Promise<LineClient> {
  const socket = await connectTcp(port);
  const lines: string[] = [];
  let partial: Buffer = Buffer.alloc(0);
  let isOver = false;
  let wake = () => {};
  const over = () => {
    isOver = true;
    wake();
  };
  socket.on('data', bytes => {
    const all = Buffer.concat([partial, bytes]);
    const end = all.lastIndexOf(0x0a) + 1;
    partial = all.subarray(end);
    if (end > 0) lines.push(...all.toString('utf8', 0, end - 1).split('\n'));
    wake();
  });
  for (const event of ['end', 'error', 'close']) socket.on(event, over);

  const client: LineClient = {
    socket,
    send(text) {
      socket.write(text);
    },
    async line() {
      while (lines.length === 0 && !isOver) {
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
      return lines.shift();
    },
    async linesUntil(text) {
      const before: string[] = [];
      for (;;) {
        const line = await client.line();
        if (line === text) return before;
        if (line === undefined) throw new Error(`the end came before "${text}", after: ${before.join('\n')}`);
        before.push(line);
      }
    },
    async rest() {
      const all: string[] = [];
      for (let line = await client.line(); line !== undefined; line = await client.line()) all.push(line);
      return all;
    },
  };
  return client;
}

/** Connects, sends a nick, and reads until the server confirms that it is in the lobby. */
export async function connectTerminal(port: number, nick: string): Promise<LineClient> {
  const client = await connectLines(port);
  client.send(`${nick}\n`);
  await client.linesUntil(`* ${nick} is here`);
  return client;
}

/** Drains the lines received so far: sends /who, and returns all lines before its reply. */
export async function linesSoFar(client: LineClient, command = '/help\n'): Promise<string[]> {
  client.send(command);
  const before = await client.linesUntil('* /join ROOM  move to another room');
  for (let i = 0; i < 3; i++) await client.line();
  return before;
}
