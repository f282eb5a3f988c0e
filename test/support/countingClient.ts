/** A WebSocket client for crowds: it takes no frames apart, but counts bytes and compares them with what is due. */
import { connect, type Socket } from 'node:net';
import { handshakeRequest } from './rawClient.ts';

export interface CountingClient {
  readonly socket: Socket;
  /** Bytes that came after the handshake's head. */
  received: number;
  /** What is to come, again and again; undefined: anything. Counted from the first byte after the handshake. */
  due: Buffer | undefined;
  /** Where the first byte came that was not due. */
  wrongAt: number | undefined;
  /** The end came, or an error. */
  isOver: boolean;
}

/** Connects and makes the handshake. Rejects where that fails or is refused. */
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

/** Opens `total` connections, a few at a time: a listener's backlog is bounded. */
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
