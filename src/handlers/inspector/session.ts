/** An open inspector: a page, its WebSocket, and the connection that it watches. */
import type { Tokens } from '../../access/tokens.ts';
import { closeConnection, runIsolated } from '../../core/close.ts';
import { updateHeld } from '../../core/memory.ts';
import { sendMessage } from '../../core/send.ts';
import { CloseCode } from '../../protocol/codes.ts';
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
import type { InspectorLimits, OpenMessage, ServerMessage } from './messages.ts';
import { beginWatch, endWatch, type FrameWatch, takeFrames, watchMemory } from './watch.ts';
import {
  drainWorkbench,
  openWorkbench,
  shutWorkbench,
  type Workbench,
  type WorkbenchPage,
  workbenchMemory,
} from './workbench.ts';

export const inspectorName = 'inspect';

/** The inspectors of a server. */
export interface Inspectors {
  readonly server: Server;
  readonly channels: Channels;
  readonly tokens: Tokens;
  readonly version: string;
  /** The sessions that have entered. */
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
  isPaused: boolean;
  /** The number of the last frame. */
  lastFrame: number;
  readonly list: ConnectionList;
  watch: FrameWatch | undefined;
  readonly workbenches: Map<number, Workbench>;
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
  return {
    inspectors,
    connection,
    entry,
    isPaused: false,
    lastFrame: 0,
    list: newConnectionList(),
    watch: undefined,
    workbenches: new Map(),
  };
}

export function sendToPage({ connection }: InspectorSession, message: ServerMessage): void {
  const bytes = Buffer.from(JSON.stringify(message));
  sendMessage(connection, true, bytes, 0, bytes.length);
}

/** Whether the page reads too slowly. Frames and changes of the list wait until it has caught up. */
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
  watchConnection(session, undefined);
  for (const workbench of session.workbenches.values()) shutWorkbench(workbench, true);
  if (inspectors.sessions.size > 0) return;
  clearInterval(inspectors.timer);
  inspectors.timer = undefined;
}

function tick(inspectors: Inspectors): void {
  inspectors.ticks++;
  for (const session of inspectors.sessions) runIsolated(session.connection, () => update(session));
}

function update(session: InspectorSession): void {
  const { inspectors, connection } = session;
  if (!inspectors.server.configuration.inspect && !connection.isControl)
    return closeConnection(connection, CloseCode.NotAllowed, 'the inspector was switched off');
  sendFrames(session);
  if (inspectors.ticks % ticksPerList === 0 && !isBehind(session)) sendList(session);
  for (const workbench of session.workbenches.values()) drainWorkbench(workbench);
  updateHeld(connection);
}

/** Sends the frames since the last call, if the page keeps up. */
export function sendFrames(session: InspectorSession): void {
  const { watch, isPaused } = session;
  if (watch === undefined) return;
  const message = takeFrames(watch, !isPaused && !isBehind(session));
  if (message !== undefined) sendToPage(session, message);
  const { serial } = watch.connection;
  for (const state of watch.states.splice(0)) sendToPage(session, { type: 'state', serial, state });
}

/** Bytes of memory. */
export function sessionMemory({ watch, list, workbenches }: InspectorSession): number {
  let held = list.bySerial.size * listedMemory + (watch === undefined ? 0 : watchMemory(watch));
  for (const workbench of workbenches.values()) held += workbenchMemory(workbench);
  return held;
}

/** An estimate for an entry of the list. */
const listedMemory = 400;

/** Watches another connection, or none. */
export function watchConnection(session: InspectorSession, connection: Connection | undefined): void {
  if (session.watch !== undefined) endWatch(session.watch);
  session.watch = connection && beginWatch(connection, () => ++session.lastFrame);
}

function sendList(session: InspectorSession): void {
  const { inspectors, list } = session;
  const changes = compareConnections(list, inspectors.server, {
    workbenchOf: connection => workbenchOf(session, connection),
    isInspector: ({ handlerName }) => handlerName === inspectorName,
  });
  if (changes !== undefined) sendToPage(session, changes);
}

/** The workbench's id for this connection; undefined if this page's workbench did not open it. */
function workbenchOf({ workbenches }: InspectorSession, connection: Connection): number | undefined {
  for (const { id, socket } of workbenches.values()) if (socket.connection === connection) return id;
  return undefined;
}

/** Opens a workbench connection for the page. @throws ProtocolError 409 */
export function openForPage(session: InspectorSession, message: OpenMessage): void {
  const { inspectors, connection, workbenches } = session;
  const wire = inspectors.workbenchWire!;
  const page: WorkbenchPage = {
    ...{ connection, wire },
    nextFrame: () => ++session.lastFrame,
    send: answer => sendToPage(session, answer),
    isReading: () => !isBehind(session),
  };
  openWorkbench(page, message, workbenches);
}
