/** Commands that report: the connections, the chat, the server. */

import { maxForAddress } from '../core/admission.ts';
import { usedMemory } from '../core/memory.ts';
import { userOf } from '../handlers/chat/chat.ts';
import { type Name, readName } from '../handlers/chat/names.ts';
import { moduleStates } from '../handlers/modules/modules.ts';
import { controlPath, logPath, pidPath } from '../options/paths.ts';
import type { Connection } from '../records/records.ts';
import type { Command, Control } from './command.ts';
import { metricsCommand } from './metrics.ts';
import { formatDuration, formatSize } from './show.ts';
import { isListed, roomName } from './values.ts';

const seconds = (milliseconds: number) => milliseconds / 1000;
const formatSeconds = (value: number) => formatDuration(value * 1000);

function describe({ server, chat }: Control, connection: Connection): Record<string, unknown> {
  const { acceptedAt, messageAt, handler, wire, queue } = connection;
  const user = userOf(chat, connection);
  return {
    id: connection.id,
    serial: connection.serial,
    wire: wire.name,
    handler: handler?.name ?? null,
    address: connection.address,
    nick: user?.nick.text ?? null,
    room: user?.room?.name.text ?? null,
    user: connection.identity?.user ?? null,
    age: seconds(server.now - acceptedAt),
    idle: seconds(server.now - messageAt),
    bytesIn: connection.bytesIn,
    bytesOut: connection.bytesOut,
    messagesIn: connection.messagesIn,
    messagesOut: connection.messagesOut,
    queued: queue.size,
  };
}

const list: Command = {
  name: 'list',
  isReadOnly: true,
  parameters: {},
  help: 'list the connections',
  details:
    'serial: a number that is never reused, as in why "#812". age: time since the connection was accepted. idle: time since its last message. Both are seconds in JSON. queued: bytes of output that wait to be written.',
  columns: {
    id: { width: -4 },
    serial: { width: 7, format: serial => `#${serial}` },
    wire: { width: 9 },
    handler: { width: 9 },
    address: { width: 21 },
    nick: { width: 10 },
    room: { width: 10 },
    user: { width: 10 },
    age: { width: -6, format: formatSeconds },
    idle: { width: -6, format: formatSeconds },
    messagesIn: { width: -10 },
    messagesOut: { width: -11 },
    bytesIn: { width: -7, format: formatSize },
    bytesOut: { width: -8, format: formatSize },
    queued: { width: -6, format: formatSize },
  },
  *run(control) {
    const { entries } = control.server.table;
    // By index: the table may change between two rows.
    for (let at = 0; at < entries.length; at++) {
      const entry = entries[at];
      if (entry?.kind === 'connection' && isListed(entry)) yield describe(control, entry);
    }
  },
};

const rooms: Command = {
  name: 'rooms',
  isReadOnly: true,
  parameters: {},
  help: 'list the chat rooms',
  details:
    'Rooms with users or with messages. remembered: the number of messages in the history of the room.',
  columns: { room: { width: 20 }, users: { width: -5 }, remembered: { width: -10 } },
  *run({ chat }) {
    for (const { name, users, channel } of chat.rooms.values())
      yield { room: name.text, users: users.size, remembered: channel.count };
    for (const { name, count, room } of chat.channels.byName.values()) {
      if (room === undefined && count > 0 && chat.isRoom(name) && isRoomName(name))
        yield { room: name, users: 0, remembered: count };
    }
  },
};

/** Whether users can enter a room of this name. */
function isRoomName(channel: string): boolean {
  const name = readName(Buffer.from(channel), 'room');
  return typeof name === 'object' && name.key === channel;
}

const presence: Command = {
  name: 'presence',
  isReadOnly: true,
  parameters: { room: { kind: roomName } },
  help: 'list the users in a chat room',
  details:
    'uid: the number that identifies the user in packets. id: the connection id. The users of other channels are at GET /channels/NAME?presence=only.',
  columns: { nick: { width: 20 }, uid: { width: -6 }, id: { width: -4 }, address: { width: 21 } },
  *run({ chat }, { room: name }) {
    const room = chat.rooms.get((name as Name).key);
    for (const { nick, uid, connection } of room?.users ?? []) {
      yield { nick: nick.text, uid, id: connection.id, address: connection.address };
    }
  },
};

const info: Command = {
  name: 'info',
  isReadOnly: true,
  parameters: {},
  help: 'show uptime, counters, memory, limits',
  details: 'The counters start at zero with the server. A limit shown as - (null in JSON) is off.',
  run({ server, version, startedAt, places }, _, reply) {
    const { counters, configuration, table } = server;
    const { rss, heapUsed } = process.memoryUsage();
    const uptime = (Date.now() - startedAt) / 1000;
    const listeners = table.entries.flatMap(entry => (entry?.kind === 'listener' ? [entry.url] : []));
    const limit = (value: number) => (value === 0 || value === Number.POSITIVE_INFINITY ? null : value);
    const size = (bytes: number | null) => (reply.isJson || bytes === null ? bytes : formatSize(bytes));
    return {
      version,
      pid: process.pid,
      node: process.version,
      uptime: reply.isJson ? uptime : formatDuration(uptime * 1000),
      listeners,
      draining: server.isDraining,
      connections: server.connections,
      counters: { ...counters },
      memory: { rss: size(rss), heap: size(heapUsed), used: size(usedMemory(server)) },
      places: {
        control: controlPath(configuration, places) ?? null,
        configuration: configuration.configFile ?? null,
        log: logPath(configuration, places),
        pidFile: pidPath(configuration, places) ?? null,
        data: configuration.data || null,
        spool: configuration.spool || null,
      },
      modules: moduleStates(server),
      limits: {
        connections: limit(configuration.maxConnections),
        perAddress: limit(maxForAddress(server)),
        openFiles: limit(server.descriptors.limit),
        message: size(limit(configuration.maxMessage)),
        memory: size(limit(configuration.maxMemory)),
        buffered: size(limit(configuration.maxBuffered)),
        header: size(limit(configuration.maxHeader)),
      },
    };
  },
};

export const queryCommands: readonly Command[] = [list, rooms, presence, info, metricsCommand];
