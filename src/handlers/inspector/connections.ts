/** The list of connections, and its changes since the last message to the page. */
import { clock } from '../../process/clock.ts';
import { maxInspectedConnections } from '../../protocol/inspectorLimits.ts';
import type { Connection, Server } from '../../records/records.ts';
import type {
  ConnectionChange,
  ConnectionState,
  ConnectionsMessage,
  EndedConnection,
  InspectedConnection,
} from './messages.ts';

/** A connection in a page's list. */
interface Listed {
  readonly connection: Connection;
  /** The connection as the page has it. */
  shown: ConnectionChange;
  /** The last comparison that found it in the table. */
  seenIn: number;
}

export interface ConnectionList {
  readonly bySerial: Map<number, Listed>;
  comparisons: number;
  total: number;
}

export function newConnectionList(): ConnectionList {
  return { bySerial: new Map(), comparisons: 0, total: -1 };
}

export interface ListContext {
  readonly workbenchOf: (connection: Connection) => number | undefined;
  readonly isInspector: (connection: Connection) => boolean;
}

/** Compares the list with the table. @returns undefined if nothing has changed */
export function compareConnections(
  list: ConnectionList,
  { table }: Server,
  context: ListContext,
): ConnectionsMessage | undefined {
  const { bySerial } = list;
  const comparison = ++list.comparisons;
  const added: InspectedConnection[] = [];
  const changed: ConnectionChange[] = [];
  let total = 0;
  for (const entry of table.entries) {
    if (entry?.kind !== 'connection' || entry.isControl || entry.phase === 'gone') continue;
    total++;
    const listed = bySerial.get(entry.serial);
    if (listed !== undefined) {
      listed.seenIn = comparison;
      // Each message to an inspector changes its counters, and would cause the next message.
      if (context.isInspector(entry) || !hasChanged(listed.shown, entry)) continue;
      listed.shown = describeChange(entry);
      changed.push(listed.shown);
    } else if (bySerial.size < maxInspectedConnections) {
      const shown = describe(entry, context);
      bySerial.set(entry.serial, { connection: entry, shown, seenIn: comparison });
      added.push(shown);
    }
  }
  const ended: EndedConnection[] = [];
  for (const [serial, { connection, seenIn }] of bySerial) {
    if (seenIn === comparison) continue;
    bySerial.delete(serial);
    ended.push(describeEnd(connection));
  }
  if (added.length + changed.length + ended.length === 0 && total === list.total) return undefined;
  list.total = total;
  return { type: 'connections', added, changed, ended, total };
}

function hasChanged(shown: ConnectionChange, connection: Connection): boolean {
  return (
    shown.bytesIn !== connection.bytesIn ||
    shown.bytesOut !== connection.bytesOut ||
    shown.messagesIn !== connection.messagesIn ||
    shown.messagesOut !== connection.messagesOut ||
    shown.wire !== connection.wire.name ||
    shown.handler !== connection.handlerName ||
    shown.user !== connection.identity?.user ||
    shown.state !== stateOf(connection) ||
    shown.unsent !== connection.queue.size ||
    (shown.faults ?? []).join() !== (connection.socket.faults?.() ?? []).join()
  );
}

export function stateOf({ endpoint, phase }: Connection): ConnectionState {
  if (phase === 'gone') return 'ENDED';
  return endpoint?.state ?? 'CONNECTING';
}

function describeChange(connection: Connection): ConnectionChange {
  const {
    serial,
    wire,
    handlerName,
    identity,
    endpoint,
    bytesIn,
    bytesOut,
    messagesIn,
    messagesOut,
    queue,
    socket,
  } = connection;
  const faults = socket.faults?.() ?? [];
  return {
    serial,
    state: stateOf(connection),
    wire: wire.name,
    ...(handlerName === undefined ? {} : { handler: handlerName }),
    ...(identity === undefined ? {} : { user: identity.user }),
    isCompressed: endpoint?.inflater !== undefined,
    ...{ bytesIn, bytesOut, messagesIn, messagesOut },
    unsent: queue.size,
    ...(faults.length === 0 ? {} : { faults }),
  };
}

function describe(connection: Connection, { workbenchOf, isInspector }: ListContext): InspectedConnection {
  const { id, address, acceptedAt, security } = connection;
  const workbench = workbenchOf(connection);
  return {
    ...describeChange(connection),
    id,
    address,
    since: Date.now() - (clock() - acceptedAt),
    isSecure: security !== undefined,
    ...(workbench === undefined ? {} : { workbench }),
    ...(isInspector(connection) ? { isInspector: true } : {}),
  };
}

export function describeEnd({ serial, ending }: Connection): EndedConnection {
  const { by = 'server', why = '', aftermath, code, reason } = ending ?? {};
  const frame =
    ending?.received ?? ending?.sent ?? (code === undefined ? undefined : { code, reason: reason ?? '' });
  return {
    serial,
    by,
    why: aftermath === undefined ? why : `${why}; ${aftermath}`,
    ...(frame === undefined ? {} : { code: frame.code, reason: frame.reason }),
  };
}
