/** The connections that have ended, the last of them, and why: what `why` answers from. */
import { isLogged, log } from '../log/log.ts';
import type { Configuration } from '../options/configuration.ts';
import { maxClosedRecords } from '../protocol/limits.ts';
import {
  type CloseSaid,
  type Ended,
  type EndedBy,
  type Ending,
  endingOf,
  noteEnding,
} from './closeReason.ts';
import type { RememberedFrame } from './frameEntry.ts';
import { copyFrames, framesIn, framesSize, type Recorded, rememberedFrames } from './recorder.ts';
import { showFrame } from './showFrame.ts';
import { endTrace } from './trace.ts';

/** All there is to know of a connection that has ended. As JSON it is the same. */
export interface ClosedRecord {
  readonly id: number;
  readonly wire: string;
  /** `null` where there was none yet: the handshake was refused, say. */
  readonly handler: string | null;
  readonly address: string;
  /** ISO times. */
  readonly acceptedAt: string;
  readonly endedAt: string;
  readonly by: EndedBy;
  /** A sentence. Where something should have followed and did not, `aftermath` says what. */
  readonly why: string;
  readonly aftermath: string | null;
  /** The WebSocket close code, as our side saw it: 1005 for a close frame without one, 1006 where no close frame came. */
  readonly code: number | null;
  readonly reason: string | null;
  /** The close frames, ours and the peer's. */
  readonly sent: CloseSaid | null;
  readonly received: CloseSaid | null;
  /** The status of an HTTP response that ended it. */
  readonly status: number | null;
  /** The system's name of the error. */
  readonly errno: string | null;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** The last ones, oldest first, as the trace shows them; a time before each. */
  readonly frames: readonly string[];
}

/** What is recorded of a connection that is about to be freed. */
export interface Closed extends Ended, Recorded {
  readonly server: { readonly now: number; readonly configuration: Configuration };
  readonly endpoint: { readonly maxMessage: number; readonly incoming: unknown } | undefined;
  readonly handlerName: string | undefined;
  readonly address: string;
  readonly acceptedAt: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesOut: number;
}

/** What is kept of one, as it comes: it is made readable when someone asks. */
interface Kept {
  readonly id: number;
  readonly wire: string;
  readonly handler: string | undefined;
  readonly address: string;
  readonly ending: Ending;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** By the server's clock, and the wall's. */
  readonly acceptedAt: number;
  readonly now: number;
  readonly endedAt: number;
  /** How many there are in `keptFrames`. */
  readonly frames: number;
}

/** The one after the newest is the oldest, once there are as many as are kept. */
const kept: Kept[] = [];
let next = 0;
let keptFrames = new Int32Array(16 * framesSize);

/** The connection is over and about to be freed: tells it, and keeps it, unless nobody will ever ask. */
export function recordEnded(connection: Closed): void {
  const { id } = connection;
  endTrace(id);
  // Nobody had to say why a request that was answered, a page or a command, is over.
  noteEnding(connection, 'server', 'its request was answered', { isOrdinary: true });
  const ending = endingOf(connection);
  if (isLogged('debug')) log('debug', 'closed', closedFields(connection, ending));
  if (ending.isOrdinary || connection.isControl) return;
  const frames = keepFrames(connection);
  const { wire, handlerName, address, messagesIn, messagesOut, bytesIn, bytesOut, acceptedAt } = connection;
  kept[next] = {
    id,
    wire: wire.name,
    handler: handlerName,
    address,
    ending,
    messagesIn,
    messagesOut,
    bytesIn,
    bytesOut,
    acceptedAt,
    now: connection.server.now,
    endedAt: Date.now(),
    frames,
  };
  next = (next + 1) % maxClosedRecords;
}

/** @returns how many there are */
function keepFrames(connection: Closed): number {
  const at = next * framesSize;
  if (at === keptFrames.length) {
    const grown = new Int32Array(Math.min(2 * keptFrames.length, maxClosedRecords * framesSize));
    grown.set(keptFrames);
    keptFrames = grown;
  }
  return copyFrames(connection, keptFrames, at);
}

function closedFields(connection: Closed, ending: Ending) {
  const { id, address, server, acceptedAt, messagesIn, messagesOut, bytesIn, bytesOut } = connection;
  const { by, why, aftermath, code, reason, status, errno } = ending;
  const seconds = (server.now - acceptedAt) / 1000;
  return {
    ...{ id, address, by, why, aftermath, code, reason, status, errno, seconds },
    ...{ messagesIn, messagesOut, bytesIn, bytesOut },
  };
}

/**
 * Those of the last `maxClosedRecords` that had this id, newest first. Pages that were served, and connections on which nothing was
 * said, are not there.
 */
export function findEnded(id: number): ClosedRecord[] {
  const newestFirst = kept.map((_, index) => (next - 1 - index + kept.length) % kept.length);
  return newestFirst.filter(index => kept[index]!.id === id).map(show);
}

function show(index: number): ClosedRecord {
  const { ending, handler, acceptedAt, now, endedAt, frames, ...rest } = kept[index]!;
  const { by, why, aftermath, code, reason, sent, received, status, errno } = ending;
  return {
    ...rest,
    ...{ handler: handler ?? null, by, why, aftermath: aftermath ?? null },
    ...{ code: code ?? null, reason: reason ?? null, sent: sent ?? null, received: received ?? null },
    ...{ status: status ?? null, errno: errno ?? null },
    acceptedAt: new Date(endedAt - (now - acceptedAt)).toISOString(),
    endedAt: new Date(endedAt).toISOString(),
    frames: showFrames(framesIn(keptFrames, index * framesSize, frames, now), endedAt),
  };
}

/** The last frames of a connection that is there, oldest first. */
export function lastFrames(connection: Closed): string[] {
  return showFrames(rememberedFrames(connection), Date.now());
}

function showFrames(frames: readonly RememberedFrame[], at: number): string[] {
  return frames.map(frame => `${new Date(at - frame.age).toISOString()} ${showFrame(frame)}`);
}
