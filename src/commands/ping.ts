/** The command that asks a connection whether it is there. */
import type { Connection } from '../core/connection.ts';
import { websocket } from '../core/readSocketData.ts';
import { sendControl } from '../core/send.ts';
import { Opcode, ProtocolError } from '../protocol/codes.ts';
import { defaults } from '../protocol/limits.ts';
import type { Command } from './command.ts';
import { findConnection, type Target, target } from './values.ts';

let nextPing = 1;

export const ping: Command = {
  name: 'ping',
  parameters: { id: { kind: target } },
  help: 'wait for a pong, and tell the time',
  run(control, { id }) {
    const connection = findConnection(control, id as Target);
    const { endpoint } = connection;
    if (endpoint === undefined || connection.wire !== websocket)
      throw new ProtocolError(409, `connection ${connection.id} has no pings`);
    if (endpoint.state !== 'OPEN') throw new ProtocolError(409, `connection ${connection.id} is closing`);
    return roundTrip(connection);
  },
};

function roundTrip(connection: Connection): Promise<{ id: number; milliseconds: number }> {
  // Our own payload, so that no other pong is taken for the answer.
  const payload = Buffer.from(`ping ${nextPing++}`);
  const { id, server } = connection;
  const patience = server.configuration.pongTimeout || defaults.pongTimeout;
  return new Promise((resolve, reject) => {
    const sentAt = performance.now();
    const waiting = { hear, lost: () => fail(`connection ${id} ended before it answered`) };
    const timer = setTimeout(
      () => fail(`connection ${id} did not answer within ${patience / 1000} s`),
      patience,
    );
    timer.unref();
    function leave(): void {
      clearTimeout(timer);
      connection.pings = connection.pings?.filter(other => other !== waiting);
    }
    function fail(why: string): void {
      leave();
      reject(new ProtocolError(504, why));
    }
    function hear(bytes: Uint8Array): void {
      if (!payload.equals(bytes)) return;
      leave();
      resolve({ id, milliseconds: Math.round((performance.now() - sentAt) * 1000) / 1000 });
    }
    connection.pings = [...(connection.pings ?? []), waiting];
    sendControl(connection, Opcode.Ping, payload, 0, payload.length);
  });
}
