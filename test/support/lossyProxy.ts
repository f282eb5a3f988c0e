/** A proxy that breaks off every tenth response, so that requests are handled and their answers are lost. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Random } from './random.ts';

export interface LossyProxy {
  readonly port: number;
  /** The number of responses, and of those that were broken off. */
  readonly counts: { responses: number; broken: number };
  close(): Promise<void>;
}

/** @param longest the most bytes of an event stream that pass: each stream is broken off */
export async function startLossyProxy(port: number, random: Random, longest: number): Promise<LossyProxy> {
  const counts = { responses: 0, broken: 0 };
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, client => {
    const upstream = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    /** The bytes that may still pass; undefined before the response begins. */
    let left: number | undefined;
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
    client.on('data', bytes => upstream.write(bytes));
    upstream.on('data', bytes => {
      if (left === undefined) {
        const isStream = bytes.includes('text/event-stream');
        const isBroken = isStream || ++counts.responses % 10 === 0;
        left = isBroken ? random.below(isStream ? longest : 300) : Number.POSITIVE_INFINITY;
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
