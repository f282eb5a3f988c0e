/** An open inspector: a page, its WebSocket, and what it watches. */
import type { Tokens } from '../../access/tokens.ts';
import { updateHeld } from '../../core/memory.ts';
import { sendMessage } from '../../core/send.ts';
import {
  inspectorTick,
  maxDecodedFrame,
  maxInspectedChannels,
  maxInspectedConnections,
  maxInspectedFrames,
  maxInspectorBacklog,
  maxKeptFrames,
  maxShownContent,
  maxWorkbenches,
  maxWorkbenchSend,
  ticksPerList,
} from '../../protocol/inspectorLimits.ts';
import type { Connection, Server, Wire } from '../../records/records.ts';
import type { Channels } from '../channels/records.ts';
import { type ConnectionList, compareConnections, newConnectionList } from './connections.ts';
import type { InspectorEntry } from './entry.ts';
import type { InspectorLimits, ServerMessage } from './messages.ts';

/** The inspectors of a server. */
export interface Inspectors {
  readonly server: Server;
  readonly channels: Channels;
  readonly tokens: Tokens;
  readonly version: string;
  /** Those that have entered. */
  readonly sessions: Set<InspectorSession>;
  /** The wire of the workbench's connections. Set before the server listens. */
  workbenchWire: Wire | undefined;
  /** Runs while there are sessions. */
  timer: NodeJS.Timeout | undefined;
  ticks: number;
}

export interface InspectorSession {
  readonly inspectors: Inspectors;
  readonly connection: Connection;
  readonly entry: InspectorEntry;
  hasEntered: boolean;
  readonly list: ConnectionList;
}

export const inspectorLimits: InspectorLimits = {
  connections: maxInspectedConnections,
  channels: maxInspectedChannels,
  framesPerSecond: maxInspectedFrames,
  shownBytes: maxShownContent,
  keptFrames: maxKeptFrames,
  decodedBytes: maxDecodedFrame,
  workbenches: maxWorkbenches,
  sentBytes: maxWorkbenchSend,
};

export function newSession(
  inspectors: Inspectors,
  connection: Connection,
  entry: InspectorEntry,
): InspectorSession {
  return { inspectors, connection, entry, hasEntered: false, list: newConnectionList() };
}

export function sendToPage({ connection }: InspectorSession, message: ServerMessage): void {
  const bytes = Buffer.from(JSON.stringify(message));
  sendMessage(connection, true, bytes, 0, bytes.length);
}

/** Whether the page reads so slowly that nothing more is queued for it. */
function isBehind({ connection: { queue, socket } }: InspectorSession): boolean {
  return queue.size + socket.unsent() > maxInspectorBacklog;
}

/** Adds a session that has entered. The first one starts the timer. */
export function addSession(session: InspectorSession): void {
  const { inspectors } = session;
  inspectors.sessions.add(session);
  inspectors.timer ??= setInterval(tick, inspectorTick, inspectors).unref();
  sendList(session);
}

/** Ends the session with its connection. The last one stops the timer. */
export function endSession(session: InspectorSession): void {
  const { inspectors } = session;
  inspectors.sessions.delete(session);
  if (inspectors.sessions.size > 0) return;
  clearInterval(inspectors.timer);
  inspectors.timer = undefined;
}

function tick(inspectors: Inspectors): void {
  inspectors.ticks++;
  for (const session of inspectors.sessions) {
    if (!isBehind(session) && inspectors.ticks % ticksPerList === 0) sendList(session);
    updateHeld(session.connection);
  }
}

function sendList(session: InspectorSession): void {
  const { inspectors, list } = session;
  const inspecting = new Set([...inspectors.sessions].map(({ connection }) => connection));
  const changes = compareConnections(list, inspectors.server, {
    workbenchOf: () => undefined,
    isInspector: connection => inspecting.has(connection),
  });
  if (changes !== undefined) sendToPage(session, changes);
}
