/** Commands that tell what happens, and what happened. */

import type { Connection } from '../core/connection.ts';
import { websocket } from '../core/readSocketData.ts';
import { sendControl } from '../core/send.ts';
import { type ClosedRecord, findClosed, lastFrames } from '../diagnostics/closedConnections.ts';
import { traceConnection, tracedConnections } from '../diagnostics/trace.ts';
import { watchLog } from '../log/log.ts';
import type { Kind } from '../options/values.ts';
import { Opcode, ProtocolError } from '../protocol/codes.ts';
import { defaults, maxWatchBacklog } from '../protocol/limits.ts';
import { administration, type Command } from './command.ts';
import { findConnection, id, type Target, target } from './values.ts';

/** One, all or none. */
const traced: Kind<number | 'all' | 'off'> = {
  placeholder: 'ID|all|off',
  expected: 'the id of a connection such as 7, all, or off',
  parse: raw => (raw === 'all' || raw === 'off' ? raw : id.parse(raw)),
  show: String,
};

export const why: Command = {
  name: 'why',
  parameters: { id: { kind: id } },
  help: 'why a connection ended',
  run(control, { id: wanted }, answer) {
    const { closedConnections, table } = control.server;
    const [newest, ...earlier] = findClosed(closedConnections, wanted as number);
    if (newest !== undefined) return answer.isJson ? newest : readable(newest, earlier.length);
    const entry = table.entries[wanted as number];
    if (entry?.kind !== 'connection' || entry.isControl) {
      throw new ProtocolError(404, `no connection ${wanted} is among the last that ended`);
    }
    const frames = lastFrames(entry);
    return { id: wanted, why: 'it has not ended', frames: answer.isJson ? frames : (frames ?? notRecorded) };
  },
};

const notRecorded = 'not recorded: the recorder is off (--recorder)';

/** The reason first, and no empty fields. */
function readable(record: ClosedRecord, earlier: number): Readonly<Record<string, unknown>> {
  const { why, id, ...rest } = { ...record, frames: record.frames ?? notRecorded };
  const known = Object.entries(rest).filter(([, value]) => value !== null && value !== '');
  return { why, id, ...Object.fromEntries(known), earlierOfThisId: earlier || undefined };
}

export const trace: Command = {
  name: 'trace',
  parameters: { which: { kind: traced } },
  help: 'show frames in the log, and to watch',
  journal: administration,
  run(control, { which }) {
    if (typeof which === 'number') findConnection(control, which);
    traceConnection(control.server.trace, which as number | 'all' | 'off');
    return { traced: tracedConnections(control.server.trace) };
  },
};

export const watch: Command = {
  name: 'watch',
  parameters: {},
  help: 'tell what happens, until interrupted',
  streams: true,
  run(_control, _values, answer) {
    const hear = (line: string) => {
      if (answer.unsent() > maxWatchBacklog) return false;
      answer.write(line);
      answer.flush();
      return true;
    };
    answer.whenGone(watchLog(hear, 'debug', answer.isJson ? 'json' : 'text'));
    // It has begun, though nothing happens yet.
    answer.flush();
  },
};

/** The command that asks a connection whether it is there. */

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
    const waiting = { onPong, onLost: () => fail(`connection ${id} ended before it answered`) };
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
    function onPong(bytes: Uint8Array): void {
      if (!payload.equals(bytes)) return;
      leave();
      resolve({ id, milliseconds: Math.round((performance.now() - sentAt) * 1000) / 1000 });
    }
    connection.pings = [...(connection.pings ?? []), waiting];
    sendControl(connection, Opcode.Ping, { bytes: payload, start: 0, end: payload.length });
  });
}
