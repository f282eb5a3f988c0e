/** The kinds of parameters that commands have. */

import type { Serial } from '../diagnostics/closedConnections.ts';
import { channelNameFault } from '../handlers/channels/names.ts';
import { type Name, readName } from '../handlers/chat/names.ts';
import { choice, flag, type Kind } from '../options/values.ts';
import { splitWords } from '../options/words.ts';
import { isSendableCloseCode, ProtocolError, sendableCloseCodes } from '../protocol/codes.ts';
import { maxCloseReason } from '../protocol/limits.ts';
import type { Connection, Listener, Server } from '../records/records.ts';
import type { Control, Parameter } from './command.ts';

/** A connection by its id, its serial number or its chat nick, or all connections of a user. */
export type Target = number | Serial | Name | { readonly user: string };

const target: Kind<Target> = {
  placeholder: 'ID|@NICK',
  expected: 'a connection id, such as 7 or #812, a nick, such as @ada, or a user, such as user:17',
  parse(raw) {
    if (typeof raw === 'string' && raw.startsWith('@')) {
      const name = readName(Buffer.from(raw.slice(1)), 'nick');
      return typeof name === 'string' ? undefined : name;
    }
    if (typeof raw === 'string' && raw.startsWith('user:') && raw.length > 'user:'.length)
      return { user: raw.slice('user:'.length) };
    return connectionId.parse(raw);
  },
  show(value) {
    if (typeof value === 'number' || 'serial' in value) return connectionId.show(value);
    return 'user' in value ? `user:${value.user}` : `@${value.text}`;
  },
};

/** The parameter `id` of commands about one connection. */
export const id: Parameter = { kind: target };

/** JSON may have numbers. */
const wordOf = (raw: unknown) => (typeof raw === 'string' || typeof raw === 'number' ? String(raw) : '');

/** An id, which later connections reuse, or a serial number. */
export const connectionId: Kind<number | Serial> = {
  placeholder: 'ID',
  expected: 'a connection id, such as 7 or #812',
  parse(raw) {
    const [, number, serial] = /^(?:(\d{1,9})|#(\d{1,15}))$/.exec(wordOf(raw)) ?? [];
    if (serial !== undefined) return { serial: Number(serial) };
    return number === undefined ? undefined : Number(number);
  },
  show: value => (typeof value === 'number' ? String(value) : `#${value.serial}`),
};

/** `id` of `trace` and `record`: one connection, all or none. */
export const observed: Kind<number | Serial | 'all' | 'off'> = {
  placeholder: 'ID|all|off',
  expected: `${connectionId.expected}, all, or off`,
  parse: raw => (raw === 'all' || raw === 'off' ? raw : connectionId.parse(raw)),
  show: value => (typeof value === 'string' ? value : connectionId.show(value)),
};

export const roomName: Kind<Name> = {
  placeholder: 'ROOM',
  expected: 'the name of a chat room',
  parse(raw) {
    const name = typeof raw === 'string' ? readName(Buffer.from(raw), 'room') : '';
    return typeof name === 'string' ? undefined : name;
  },
  show: ({ text }) => text,
};

export const channelName: Kind<string> = {
  placeholder: 'NAME',
  expected: 'the name of a channel, such as orders or shop/orders',
  parse: raw => (typeof raw === 'string' && channelNameFault(raw) === undefined ? raw : undefined),
  show: name => name,
};

/** How a text is published. */
export const messageKind = choice(['text', 'json'], 'text|json');

/** A flag, which JSON and forms may have as a word. */
export const yes: Kind<boolean> = {
  placeholder: '',
  expected: 'true or false',
  parse: raw => (raw === 'true' ? true : raw === 'false' ? false : flag.parse(raw)),
  show: String,
};

/** Any text, also an empty one. */
export const textValue: Kind<string> = {
  placeholder: 'TEXT',
  expected: 'a text',
  parse: raw => (typeof raw === 'string' ? raw : undefined),
  show: value => value,
};

export const word = (placeholder: string, expected: string): Kind<string> => ({
  placeholder,
  expected,
  parse: raw => (typeof raw === 'string' && raw !== '' ? raw : undefined),
  show: value => value,
});

/** The arguments of a handler module's own command. */
export const wordList: Kind<readonly string[]> = {
  placeholder: 'ARG...',
  expected: 'a list of words',
  parse: raw =>
    typeof raw === 'string' ? [raw] : Array.isArray(raw) && raw.every(isString) ? raw : undefined,
  show: words => words.join(' '),
};

/** `id` of `fault`: one connection, all, or `off` to turn all faults off. */
export const faultTarget: Kind<Target | 'all' | 'off'> = {
  placeholder: 'ID|@NICK|all',
  expected: `${target.expected}, all, or off`,
  parse: raw => (raw === 'all' || raw === 'off' ? raw : target.parse(raw)),
  show: value => (typeof value === 'string' ? value : target.show(value)),
};

/** Faults as words, or as one text with spaces from a form. */
export const faultWords: Kind<readonly string[]> = {
  placeholder: 'FAULT...',
  expected: 'faults such as stall, close=1011 or delay=200ms, or off',
  parse(raw) {
    const words = wordList.parse(raw);
    return words?.length === 1 ? splitWords(words[0]!) : words;
  },
  show: words => words.join(' '),
};

const isString = (value: unknown) => typeof value === 'string';

/** The value of an option. JSON may have numbers and booleans. */
export const setting: Kind<string> = {
  placeholder: 'VALUE',
  expected: 'a value as on the command line; for several, separate them with commas',
  parse: raw => (['string', 'number', 'boolean'].includes(typeof raw) ? String(raw) : undefined),
  show: value => value,
};

export const closeCode: Kind<number> = {
  placeholder: 'CODE',
  expected: `a close code, ${sendableCloseCodes}`,
  // RFC 6455 §7.4.1 [7.4.1-4, 7.4.1-6]: reserved codes must not be sent.
  parse: raw => (/^\d{4}$/.test(wordOf(raw)) && isSendableCloseCode(Number(raw)) ? Number(raw) : undefined),
  show: String,
};

export const closeReason: Kind<string> = {
  placeholder: 'REASON',
  expected: `a reason of at most ${maxCloseReason} bytes`,
  parse: raw => (typeof raw === 'string' && Buffer.byteLength(raw) <= maxCloseReason ? raw : undefined),
  show: value => value,
};

/** Whether commands see this connection: control connections are left out. */
export function isListed({ isControl, phase }: Connection): boolean {
  return !isControl && phase !== 'gone';
}

/** @returns at least one connection @throws ProtocolError 404 */
export function findConnections(control: Control, wanted: Target): readonly Connection[] {
  if (typeof wanted === 'number' || !('user' in wanted)) return [findConnection(control, wanted)];
  const found = connectionsOf(control, wanted.user);
  if (found.length === 0)
    throw new ProtocolError(
      404,
      `the user ${wanted.user} has no connection; pollywog list shows who is connected`,
    );
  return found;
}

/** The connections of an identified user. */
export function connectionsOf({ server }: Control, user: string): readonly Connection[] {
  const found: Connection[] = [];
  for (const entry of server.table.entries)
    if (entry?.kind === 'connection' && isListed(entry) && entry.identity?.user === user) found.push(entry);
  return found;
}

/** @returns undefined if the connection has ended, or carries commands */
export function openConnection({ table }: Server, wanted: number | Serial): Connection | undefined {
  const isWanted = (entry: Connection | Listener | undefined) =>
    entry?.kind === 'connection' && typeof wanted !== 'number' && entry.serial === wanted.serial;
  const found = typeof wanted === 'number' ? table.entries[wanted] : table.entries.find(isWanted);
  return found?.kind === 'connection' && isListed(found) ? found : undefined;
}

/** @throws ProtocolError 404, or 409 for a user with several connections */
export function findConnection(control: Control, wanted: Target): Connection {
  const { server, chat } = control;
  if (typeof wanted !== 'number' && 'user' in wanted) {
    const [first, ...more] = findConnections(control, wanted);
    if (more.length === 0) return first!;
    throw new ProtocolError(409, `the user ${wanted.user} has several connections; choose one by its id`);
  }
  if (typeof wanted !== 'number' && 'key' in wanted) {
    const user = chat.users.get(wanted.key);
    if (user === undefined)
      throw new ProtocolError(
        404,
        `no one has the nick ${wanted.text}; pollywog list shows who is connected`,
      );
    return user.connection;
  }
  const found = openConnection(server, wanted);
  if (found !== undefined) return found;
  const shown = connectionId.show(wanted);
  throw new ProtocolError(404, `there is no connection ${shown}; pollywog list shows who is connected`);
}
