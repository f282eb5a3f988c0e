/** Commands that observe connections: pings, traces, recordings, log events, and why a connection ended. */

import { sendControl } from '../core/send.ts';
import { type ClosedRecord, findClosed, lastFrames, type Serial } from '../diagnostics/closedConnections.ts';
import {
  openRecordings,
  type Recordings,
  recordConnection,
  recordEveryone,
  stopRecording,
} from '../diagnostics/recordings.ts';
import { traceConnection, tracedConnections } from '../diagnostics/trace.ts';
import { watchLog } from '../log/log.ts';
import { Opcode, ProtocolError } from '../protocol/codes.ts';
import { defaults, maxClosedRecords, maxWatchBacklog } from '../protocol/limits.ts';
import type { Connection, Server } from '../records/records.ts';
import { pathOf, untilWritten } from '../storage/appendedFiles.ts';
import { websocket } from '../wires/websocket.ts';
import { type Command, logsChanges } from './command.ts';
import { connectionId, findConnection, id, observed, openConnection, type Target } from './values.ts';

const ping: Command = {
  name: 'ping',
  isReadOnly: true,
  parameters: { id },
  help: 'ping, and print the round-trip time',
  details: 'Fails if no pong comes within --pong-timeout.',
  run(control, { id }) {
    const connection = findConnection(control, id as Target);
    const { endpoint } = connection;
    if (endpoint === undefined || connection.wire !== websocket)
      throw new ProtocolError(409, `connection ${connection.id} is not a WebSocket, so it cannot be pinged`);
    if (endpoint.state !== 'OPEN')
      throw new ProtocolError(409, `connection ${connection.id} is closing, so it cannot be pinged`);
    return measureRoundTrip(connection);
  },
};

let nextPing = 1;

function measureRoundTrip(connection: Connection): Promise<{ id: number; milliseconds: number }> {
  // A unique payload tells this pong from others (RFC 6455 §5.5.3: a pong echoes the payload of its ping).
  const payload = Buffer.from(`ping ${nextPing++}`);
  const { id, server } = connection;
  const timeout = server.configuration.pongTimeout || defaults.pongTimeout;
  return new Promise((resolve, reject) => {
    const sentAt = performance.now();
    const pending = { onPong, onLost: () => fail(`connection ${id} ended before its pong came`) };
    const timer = setTimeout(() => fail(`no pong from connection ${id} within ${timeout / 1000} s`), timeout);
    timer.unref();
    function settle(): void {
      clearTimeout(timer);
      connection.pings = connection.pings?.filter(other => other !== pending);
    }
    function fail(why: string): void {
      settle();
      reject(new ProtocolError(504, why));
    }
    function onPong(bytes: Uint8Array): void {
      if (!payload.equals(bytes)) return;
      settle();
      resolve({ id, milliseconds: Math.round((performance.now() - sentAt) * 1000) / 1000 });
    }
    connection.pings = [...(connection.pings ?? []), pending];
    sendControl(connection, Opcode.Ping, { bytes: payload, start: 0, end: payload.length });
  });
}

const why: Command = {
  name: 'why',
  isReadOnly: true,
  parameters: { id: { kind: connectionId } },
  help: 'explain why a connection ended',
  details: `Prints who ended it, by which rule or timeout, and its last frames. Ids are reused: 3 means the latest ended connection with this id. A serial number, such as #812, is never reused. The server keeps records of the last ${maxClosedRecords} connections that ended.`,
  run(control, { id: wanted }, reply) {
    const asked = wanted as number | Serial;
    const [newest, ...earlier] = findClosed(control.server.closedConnections, asked);
    const open = openConnection(control.server, asked);
    if (newest !== undefined) return reply.isJson ? newest : readable(newest, earlier, open);
    if (open === undefined) {
      throw new ProtocolError(
        404,
        `there is no record of a connection ${connectionId.show(asked)}; only the last ${maxClosedRecords.toLocaleString('en')} are kept`,
      );
    }
    const frames = lastFrames(open);
    const faults = open.socket.faults?.();
    return {
      id: open.id,
      why: 'it has not ended',
      ...(faults && { faults }),
      serial: reply.isJson ? open.serial : `#${open.serial}`,
      frames: reply.isJson ? frames : (frames ?? notRecorded),
    };
  },
};

const notRecorded = 'not recorded: the recorder is off (--recorder)';

/** The record for people: the reason first, no empty fields, and other connections with the same id. */
function readable(
  record: ClosedRecord,
  earlier: readonly ClosedRecord[],
  open: Connection | undefined,
): Readonly<Record<string, unknown>> {
  const { why, id, serial, ...rest } = { ...record, frames: record.frames ?? notRecorded };
  const known = Object.entries(rest).filter(([, value]) => value !== null && value !== '');
  const others = [
    ...(open === undefined ? [] : [`#${open.serial} has it now`]),
    ...(earlier.length === 0 ? [] : [`${listSerials(earlier)} had it before`]),
  ];
  const sameId = others.length === 0 ? undefined : `this is the latest that ended; ${others.join(', ')}`;
  return { why, id, serial: `#${serial}`, sameId, ...Object.fromEntries(known) };
}

/** The newest three. */
function listSerials(records: readonly ClosedRecord[]): string {
  const shown = records.slice(0, 3).map(({ serial }) => `#${serial}`);
  const more = records.length - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

const trace: Command = {
  name: 'trace',
  parameters: { id: { kind: observed, oldName: 'which' } },
  help: 'log the frames of a connection',
  details:
    'Logs requests, answers, frames with their text inflated, refused frames, and what faults put on the wire; watch prints these events, too. off ends all tracing.',
  logs: logsChanges,
  run(control, { id }) {
    const which = id as number | Serial | 'all' | 'off';
    traceConnection(
      control.server.trace,
      typeof which === 'string' ? which : findConnection(control, which).id,
    );
    return { traced: tracedConnections(control.server.trace) };
  },
};

const record: Command = {
  name: 'record',
  parameters: { id: { kind: observed } },
  help: 'record the session of a connection',
  details:
    'Prints the file, in the folder of --record or, without it, the default folder. all records future connections, too. off ends all recordings.',
  logs: logsChanges,
  async run(control, { id }) {
    const { server, places } = control;
    if (id === 'off') {
      if (server.recordings !== undefined) stopRecording(server.recordings);
      return { recorded: [] };
    }
    const connection = id === 'all' ? undefined : findConnection(control, id as number | Serial);
    if (connection !== undefined && connection.endpoint === undefined)
      throw new ProtocolError(
        409,
        `connection ${connection.id} is not a WebSocket, so it cannot be recorded`,
      );
    const recordings = openOrThrow(server, places.recordings);
    if (connection !== undefined) {
      const name = recordConnection(recordings, connection);
      await untilWritten(recordings.files);
      const { fault } = recordings.files;
      if (fault !== undefined) throw new ProtocolError(503, `the session is not recorded: ${fault}`);
      return { recorded: connection.id, file: pathOf(recordings.files, name) };
    }
    recordEveryone(
      recordings,
      server.table.entries.filter(entry => entry?.kind === 'connection'),
    );
    return { recorded: 'all', folder: recordings.files.folder };
  },
};

function openOrThrow(server: Server, folder: string): Recordings {
  try {
    return openRecordings(server, folder);
  } catch (error) {
    throw new ProtocolError(409, (error as Error).message);
  }
}

const watch: Command = {
  name: 'watch',
  isReadOnly: true,
  parameters: {},
  help: 'print log events as they happen',
  details: 'Runs until it is interrupted. Includes events of level debug, whatever --log-level is.',
  streams: true,
  run(_control, _parameters, reply) {
    const onLine = (line: string) => {
      if (reply.unsent() > maxWatchBacklog) return false;
      reply.write(line);
      reply.flush();
      return true;
    };
    const stop = watchLog(onLine, 'debug', reply.isJson ? 'json' : 'text');
    reply.onAbort(stop);
    reply.onDone(stop);
    // The client sees that the watch has begun.
    reply.flush();
  },
};

export const watchCommands: readonly Command[] = [ping, why, trace, record, watch];
