/** The records of closed connections, from which `why` answers. */
import { frameLine, showPayload } from '../explain/frameLine.ts';
import { shownFrameBytes } from '../explain/rawBytes.ts';
import { isLogged, log } from '../log/log.ts';
import type { Configuration } from '../options/configuration.ts';
import { maxClosedRecords } from '../protocol/limits.ts';
import { endAccess, type Visitor } from './accessLog.ts';
import {
  type CloseFrame,
  type Ended,
  type EndedBy,
  type Ending,
  endingOf,
  noteEnding,
} from './closeReason.ts';
import { addTraffic, countReason, type Metrics } from './metrics.ts';
import { copyFrames, framesWords, type Recorded, type RecordedFrame, readFrames } from './recorder.ts';
import { endTaps } from './tap.ts';

/** What the command `why` reports about a connection, as text or JSON. */
export interface ClosedRecord {
  readonly id: number;
  readonly serial: number;
  readonly wire: string;
  /** `null` if the connection had none yet: its handshake was rejected, for example. */
  readonly handler: string | null;
  readonly address: string;
  /** The identified user. */
  readonly user: string | null;
  /** ISO times. */
  readonly acceptedAt: string;
  readonly endedAt: string;
  readonly by: EndedBy;
  /** A sentence. `aftermath` is another, if something that should have followed did not. */
  readonly why: string;
  readonly aftermath: string | null;
  /** The WebSocket close code that our side saw: 1005 for a close frame without a code, 1006 if no close frame arrived. */
  readonly code: number | null;
  readonly reason: string | null;
  /** The close frames, ours and the peer's. */
  readonly sent: CloseFrame | null;
  readonly received: CloseFrame | null;
  /** The status of the HTTP response that ended the connection. */
  readonly status: number | null;
  /** The system's name of the error. */
  readonly errno: string | null;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Its faults, and how often each has acted; `null` without any. */
  readonly faults: readonly string[] | null;
  /** The last frames, oldest first, each with its time; `null` if the recorder is off. */
  readonly frames: readonly string[] | null;
}

/** The part of a connection that a record is made of. */
export interface Closed extends Ended, Recorded, Visitor {
  readonly serial: number;
  readonly server: (Recorded & Visitor)['server'] & {
    readonly configuration: Configuration;
    readonly closedConnections: ClosedConnections;
    readonly metrics: Metrics;
  };
  readonly endpoint: { readonly incoming: unknown } | undefined;
  readonly socket: { readonly isVirtual?: true; faults?(): readonly string[] };
  readonly handlerName: string | undefined;
  readonly identity: { readonly user: string } | undefined;
  readonly address: string;
  readonly acceptedAt: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesOut: number;
}

/** A record as it is stored: `why` makes it readable. */
interface StoredRecord {
  readonly id: number;
  readonly serial: number;
  readonly wire: string;
  readonly handler: string | undefined;
  readonly user: string | undefined;
  readonly address: string;
  readonly ending: Ending;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** `server.now` at both times, and the time of day at the second. */
  readonly acceptedAt: number;
  readonly now: number;
  readonly endedAt: number;
  readonly faults: readonly string[] | undefined;
  /** How many entries it has in `frames`; `undefined` if the recorder is off. */
  readonly frameCount: number | undefined;
}

/** A server's closed connections: the last `maxClosedRecords` records, in a ring. */
export interface ClosedConnections {
  readonly records: StoredRecord[];
  /** The index of the next record. */
  next: number;
  /** The recorder's entries: `framesWords` words for each record. */
  frames: Int32Array;
}

export function newClosedConnections(): ClosedConnections {
  return { records: [], next: 0, frames: new Int32Array(16 * framesWords) };
}

/** The connection is about to be freed. Logs `closed` and stores a record for `why`, unless the end was routine. */
export function recordClosed(connection: Closed): void {
  if (connection.server.taps.isOn) endTaps(connection);
  endAccess(connection);
  // An answer that ends the connection, a page or a command, needs no reason.
  noteEnding(connection, 'server', 'its request was answered', { isRoutine: true, cause: 'answered' });
  const ending = endingOf(connection);
  if (!connection.isControl) countClosed(connection, ending);
  if (isLogged('debug')) log('debug', 'closed', closedFields(connection, ending));
  if (!ending.isRoutine && !connection.isControl) storeRecord(connection, ending);
}

function countClosed(connection: Closed, { cause }: Ending): void {
  const { metrics } = connection.server;
  countReason(metrics.closed, cause);
  addTraffic(metrics.closedTraffic, connection);
}

/** An HTTP connection goes on after a request. Stores a record for `why` if that request was refused. */
export function recordRefused(connection: Closed): void {
  const { ending, isControl } = connection;
  if (ending !== undefined && !ending.isRoutine && !isControl) storeRecord(connection, ending);
  connection.ending = undefined;
}

function storeRecord(connection: Closed, ending: Ending): void {
  const { id, serial, server } = connection;
  const { closedConnections: closed } = server;
  const { wire, handlerName, address, messagesIn, messagesOut, bytesIn, bytesOut, acceptedAt } = connection;
  closed.records[closed.next] = {
    id,
    serial,
    wire: wire.name,
    handler: handlerName,
    user: connection.identity?.user,
    address,
    ending,
    messagesIn,
    messagesOut,
    bytesIn,
    bytesOut,
    acceptedAt,
    now: server.now,
    endedAt: Date.now(),
    faults: connection.socket.faults?.(),
    frameCount: server.recorder.isOn ? storeFrames(closed, connection) : undefined,
  };
  closed.next = (closed.next + 1) % maxClosedRecords;
}

/** @returns how many frames there are */
function storeFrames(closed: ClosedConnections, connection: Closed): number {
  const at = closed.next * framesWords;
  if (at === closed.frames.length) {
    const grown = new Int32Array(Math.min(2 * closed.frames.length, maxClosedRecords * framesWords));
    grown.set(closed.frames);
    closed.frames = grown;
  }
  return copyFrames(connection, closed.frames, at);
}

function closedFields(connection: Closed, ending: Ending) {
  const { id, serial, address, server, acceptedAt, messagesIn, messagesOut, bytesIn, bytesOut } = connection;
  const { by, why, aftermath, code, reason, status, errno } = ending;
  const seconds = (server.now - acceptedAt) / 1000;
  return {
    ...{
      id,
      serial,
      address,
      user: connection.identity?.user,
      by,
      why,
      aftermath,
      code,
      reason,
      status,
      errno,
      seconds,
    },
    ...{ messagesIn, messagesOut, bytesIn, bytesOut },
  };
}

/**
 * The stored records of connections that had this id, newest first, or of the connection with this serial number. Pages that were
 * served and connections that never sent anything are not stored.
 */
export function findClosed(closed: ClosedConnections, wanted: number | Serial): ClosedRecord[] {
  const { records, next } = closed;
  const newestFirst = records.map((_, index) => (next - 1 - index + records.length) % records.length);
  const isWanted = ({ id, serial }: StoredRecord) =>
    typeof wanted === 'number' ? id === wanted : serial === wanted.serial;
  return newestFirst.filter(index => isWanted(records[index]!)).map(index => show(closed, index));
}

/** A serial number: it identifies one connection, and is never reused. */
export interface Serial {
  readonly serial: number;
}

function show(closed: ClosedConnections, index: number): ClosedRecord {
  const { ending, handler, user, acceptedAt, now, endedAt, faults, frameCount, ...rest } =
    closed.records[index]!;
  const { by, why, aftermath, code, reason, sent, received, status, errno } = ending;
  const at = index * framesWords;
  return {
    ...rest,
    ...{ handler: handler ?? null, user: user ?? null, by, why, aftermath: aftermath ?? null },
    ...{ code: code ?? null, reason: reason ?? null, sent: sent ?? null, received: received ?? null },
    ...{ status: status ?? null, errno: errno ?? null },
    acceptedAt: new Date(endedAt - (now - acceptedAt)).toISOString(),
    endedAt: new Date(endedAt).toISOString(),
    faults: faults ?? null,
    frames:
      frameCount === undefined ? null : showFrames(readFrames(closed.frames, at, frameCount, now), endedAt),
  };
}

/** The last frames of an open connection, oldest first; `null` if the recorder is off. */
export function lastFrames(connection: Recorded): string[] | null {
  const { recorder, now } = connection.server;
  if (!recorder.isOn) return null;
  const entries = new Int32Array(framesWords);
  const count = copyFrames(connection, entries, 0);
  return showFrames(readFrames(entries, 0, count, now), Date.now());
}

function showFrames(frames: readonly RecordedFrame[], at: number): string[] {
  return frames.map(frame => `${new Date(at - frame.age).toISOString()} ${showRecorded(frame)}`);
}

function showRecorded(frame: RecordedFrame): string {
  const { isRefused, head, length } = frame;
  if (!isRefused) return frameLine(frame);
  const { hex, isCut } = shownFrameBytes(head);
  return `< refused frame${showPayload({ hex, isCut: isCut || head.length < length })}`;
}
