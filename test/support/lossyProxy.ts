/**
 * A proxy that breaks off every tenth response, and each stream of events or WebSocket frames, so that requests are handled and
 * their answers are lost.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Random } from './random.ts';

export interface LossyProxy {
  readonly port: number;
  /** The number of responses, and of those that were broken off. */
  readonly counts: { responses: number; broken: number };
  close(): Promise<void>;
}

/**
 * @param port of the server
 * @param longest the most bytes of a stream that pass
 */
export async function startLossyProxy(port: number, random: Random, longest: number): Promise<LossyProxy> {
  const counts = { responses: 0, broken: 0 };
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, client => {
    const upstream = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    /** Bytes that may still pass; undefined before a response begins. */
    let left: number | undefined;
    let isStream = false;
    const drop = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from.setNoDelay(true));
      from.on('error', drop);
      from.on('close', () => sockets.delete(from));
      from.on('end', () => to.end());
    }
    client.on('data', bytes => {
      // The next response of a connection that is kept begins after its request.
      if (!isStream) left = undefined;
      upstream.write(bytes);
    });
    upstream.on('data', bytes => {
      if (left === undefined) {
        isStream = bytes.includes('text/event-stream') || bytes.includes('HTTP/1.1 101 ');
        const isBroken = isStream || ++counts.responses % 10 === 0;
        left = isBroken
          ? random.below(isStream ? longest : Math.min(300, bytes.length))
          : Number.POSITIVE_INFINITY;
      }
      const piece = bytes.subarray(0, left);
      left -= piece.length;
      client.write(piece);
      if (left > 0) return;
      counts.broken++;
      upstream.destroy();
      // The bytes that passed still arrive.
      client.end(() => client.destroy());
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    counts,
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}
