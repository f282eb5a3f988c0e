/** A WebSocket client for crowds: it counts bytes and compares them with the expected ones, without parsing frames. */
import { connect, type Socket } from 'node:net';
import { handshakeRequest } from './rawClient.ts';

export interface CountingClient {
  readonly socket: Socket;
  /** Bytes that have arrived after the handshake's head. */
  received: number;
  /** The expected bytes after the handshake, repeated; undefined: any bytes. */
  due: Buffer | undefined;
  /** The offset of the first unexpected byte. */
  wrongAt: number | undefined;
  /** The connection has ended, or failed. */
  isOver: boolean;
}

/** Connects and makes the handshake. @throws Error if that fails or is refused */
export function connectCounting(
  port: number,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<CountingClient> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const client: CountingClient = {
      socket,
      received: 0,
      due: undefined,
      wrongAt: undefined,
      isOver: false,
    };
    let head: Buffer | undefined = Buffer.alloc(0);
    socket.on('data', bytes => {
      if (head === undefined) {
        count(client, bytes, 0);
        return;
      }
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf('\r\n\r\n') + 4;
      if (end < 4) return;
      if (head.toString('latin1', 0, 13) !== 'HTTP/1.1 101 ') reject(new Error(head.toString('latin1')));
      const all = head;
      head = undefined;
      resolve(client);
      count(client, all, end);
    });
    const over = () => {
      client.isOver = true;
      reject(new Error('the connection ended before the handshake did'));
    };
    for (const event of ['end', 'error', 'close']) socket.on(event, over);
    socket.write(handshakeRequest({ path, headers }));
  });
}

function count(client: CountingClient, bytes: Buffer, from: number): void {
  const { due } = client;
  if (due !== undefined && client.wrongAt === undefined) {
    for (let at = from, place = client.received % due.length; at < bytes.length; at++) {
      if (bytes[at] !== due[place]) {
        client.wrongAt = client.received + at - from;
        break;
      }
      if (++place === due.length) place = 0;
    }
  }
  client.received += bytes.length - from;
}

/** Opens `total` connections, a few at a time because of the listener's backlog. */
export async function connectCrowd(
  port: number,
  path: string,
  total: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<CountingClient[]> {
  const clients: CountingClient[] = [];
  let begun = 0;
  const connectOn = async () => {
    while (begun < total) {
      begun++;
      clients.push(await connectCounting(port, path, headers));
    }
  };
  await Promise.all(Array.from({ length: 50 }, connectOn));
  return clients;
}
