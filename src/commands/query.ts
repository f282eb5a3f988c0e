/** Commands that look: who is there, and what was said. */

import { maxForAddress } from '../core/admission.ts';
import type { Connection } from '../core/connection.ts';
import { usedMemory } from '../core/memory.ts';
import { userOf, withRoom } from '../handlers/chat/chat.ts';
import { historyEntries } from '../handlers/chat/history.ts';
import { whenLoaded } from '../handlers/chat/loadHistory.ts';
import type { Name } from '../handlers/chat/names.ts';
import type { Chat, Room } from '../handlers/chat/room.ts';
import { moduleStates } from '../handlers/modules/modules.ts';
import { controlPath, logPath, pidPath } from '../options/paths.ts';
import { ProtocolError } from '../protocol/codes.ts';
import type { Command, Control } from './command.ts';
import { showSize, showTime } from './show.ts';
import { isListed, room as roomName } from './values.ts';

type Rows = Iterator<{ nick: string; text: string }>;

/** Seconds, to the millisecond. */
const seconds = (milliseconds: number) => milliseconds / 1000;
const showSeconds = (value: number) => showTime(value * 1000);

function describe({ server, chat }: Control, connection: Connection): Record<string, unknown> {
  const { acceptedAt, messageAt, handler, wire, queue } = connection;
  const user = userOf(chat, connection);
  return {
    id: connection.id,
    wire: wire.name,
    handler: handler?.name ?? null,
    address: connection.address,
    nick: user?.nick.text ?? null,
    room: user?.room?.name.text ?? null,
    age: seconds(server.now - acceptedAt),
    idle: seconds(server.now - messageAt),
    bytesIn: connection.bytesIn,
    bytesOut: connection.bytesOut,
    messagesIn: connection.messagesIn,
    messagesOut: connection.messagesOut,
    queued: queue.size,
  };
}

export const list: Command = {
  name: 'list',
  parameters: {},
  help: 'the connections there are',
  columns: {
    id: { width: -4 },
    wire: { width: 9 },
    handler: { width: 9 },
    address: { width: 21 },
    nick: { width: 10 },
    room: { width: 10 },
    age: { width: -6, show: showSeconds },
    idle: { width: -6, show: showSeconds },
    messagesIn: { width: -5, title: 'heard' },
    messagesOut: { width: -5, title: 'told' },
    bytesIn: { width: -6, title: 'in', show: showSize },
    bytesOut: { width: -6, title: 'out', show: showSize },
    queued: { width: -6, show: showSize },
  },
  *run(control) {
    const { entries } = control.server.table;
    // By index: connections come and go while this waits for its next turn.
    for (let at = 0; at < entries.length; at++) {
      const entry = entries[at];
      if (entry?.kind === 'connection' && isListed(entry)) yield describe(control, entry);
    }
  },
};

export const rooms: Command = {
  name: 'rooms',
  parameters: {},
  help: 'the rooms of the chat',
  columns: { room: { width: 20 }, users: { width: -5 }, remembered: { width: -10 } },
  *run({ chat }) {
    for (const one of [...chat.rooms.values(), ...chat.emptyRooms.values()]) {
      const { entries, first } = one.history;
      yield { room: one.name.text, users: one.users.size, remembered: entries.length - first };
    }
  },
};

export const presence: Command = {
  name: 'presence',
  parameters: { room: { kind: roomName } },
  help: 'who is in a room',
  columns: { nick: { width: 20 }, uid: { width: -6 }, id: { width: -4 }, address: { width: 21 } },
  *run({ chat }, { room: name }) {
    const room = chat.rooms.get((name as Name).key);
    for (const { nick, uid, connection } of room?.users ?? []) {
      yield { nick: nick.text, uid, id: connection.id, address: connection.address };
    }
  },
};

export const history: Command = {
  name: 'history',
  parameters: { room: { kind: roomName } },
  help: 'what a room remembers',
  columns: { nick: { width: 12 }, text: { width: 0 } },
  run({ chat }, { room: name }) {
    return linesOf(chat, name as Name);
  },
};

/** What was said may have to be read from disk first. */
function linesOf(chat: Chat, name: Name): Rows | Promise<Rows> {
  const read = ({ history }: Room) =>
    [...historyEntries(history)].map(({ line }) => splitLine(line.toString('utf8')));
  const lines = withRoom(chat, name, read);
  if (typeof lines === 'string') throw new ProtocolError(500, lines);
  if (lines === undefined) return whenLoaded(chat, name).then(() => linesOf(chat, name));
  return lines[Symbol.iterator]();
}

/** A nick has no colon before a space. */
function splitLine(line: string): { nick: string; text: string } {
  const colon = line.indexOf(': ');
  return { nick: line.slice(0, colon), text: line.slice(colon + 2) };
}

/** The command that tells about the server as a whole. */

export const info: Command = {
  name: 'info',
  parameters: {},
  help: 'version, uptime, counters, memory, limits',
  run({ server, version, startedAt, places }, _, answer) {
    const { counters, configuration, table } = server;
    const { rss, heapUsed } = process.memoryUsage();
    const uptime = (Date.now() - startedAt) / 1000;
    const listeners = table.entries.flatMap(entry => (entry?.kind === 'listener' ? [entry.url] : []));
    const limit = (value: number) => (value === 0 || value === Number.POSITIVE_INFINITY ? null : value);
    const size = (bytes: number | null) => (answer.isJson || bytes === null ? bytes : showSize(bytes));
    return {
      version,
      pid: process.pid,
      node: process.version,
      uptime: answer.isJson ? uptime : showTime(uptime * 1000),
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
