/** The objects that modules see (interface.ts): connections, the server, and its log. */

import { closeConnection } from '../../core/close.ts';
import { join, leave, membersOf, newGroup, sendToAll, wholeMessage } from '../../core/fanout.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { type LogLevel, log } from '../../log/log.ts';
import { printableLine } from '../../log/printable.ts';
import { CloseCode, isSendableCloseCode } from '../../protocol/codes.ts';
import { splitList } from '../../protocol/http/fields.ts';
import type { Head } from '../../protocol/http/head.ts';
import type { Connection, Group, Handler, Server } from '../../records/records.ts';
import {
  defer,
  deferMembership,
  deferredMembers,
  isDeferring,
  ScopedMessage,
  sendableBytes,
  sendFunctionFor,
  snapshot,
} from './callScope.ts';
import type * as user from './interface.ts';

/** The parts of a module that outlive its versions, and that its connections refer to. */
export interface ModuleContext {
  /** The file's name without its extension. The log calls the module by it. */
  readonly name: string;
  readonly server: Server;
  readonly handler: Handler;
  readonly peers: Set<Peer>;
  readonly groups: Map<string, Group>;
  readonly log: user.Log;
}

function sizeOfHead({ target, headers }: Head): number {
  let size = target.length;
  for (const [name, value] of headers) size += name.length + value.length;
  return size;
}

/** A WebSocket connection as its handler sees it: the same object from the handshake to the end. */
export class Peer implements user.Connection {
  readonly id: number;
  data: unknown = undefined;
  /** The names of its groups; created when it joins the first one. */
  groups: Set<string> | undefined;
  readonly #connection: Connection;
  readonly #request: Head;
  readonly #requestMemory: number;
  readonly #module: ModuleContext;

  constructor(connection: Connection, request: Head, module: ModuleContext) {
    this.id = connection.id;
    this.#connection = connection;
    this.#request = request;
    this.#requestMemory = sizeOfHead(request);
    this.#module = module;
  }

  /** The memory of its request in bytes, roughly. */
  static memoryOf(peer: Peer): number {
    return peer.#requestMemory;
  }

  static connectionOf(peer: Peer): Connection {
    return peer.#connection;
  }

  get address(): string {
    return this.#connection.address;
  }

  get user(): string | undefined {
    return this.#connection.identity?.user;
  }

  get path(): string {
    return this.#request.path;
  }

  get query(): string {
    return this.#request.query;
  }

  get headers(): ReadonlyMap<string, string> {
    return this.#request.headers;
  }

  get subprotocol(): string | undefined {
    const asked = splitList(this.headers.get('sec-websocket-protocol') ?? '');
    return asked.find(name => this.#module.server.handlers.get(name) === this.#module.handler);
  }

  get isOpen(): boolean {
    const { phase, endpoint, handler } = this.#connection;
    return phase === 'open' && endpoint?.state === 'OPEN' && handler === this.#module.handler;
  }

  send(message: user.Sendable): void {
    if (isDeferring()) {
      const copied = snapshot(message);
      defer(() => this.#sendNow(copied));
    } else {
      this.#sendNow(message);
    }
  }

  #sendNow(what: user.Sendable): void {
    const connection = this.#connection;
    // The record may belong to another connection by now.
    if (connection.handler !== this.#module.handler) return;
    const send = sendFunctionFor(connection);
    if (what instanceof ScopedMessage) {
      const { isText, bytes, start, end } = what.content();
      send(connection, isText, bytes, start, end);
    } else {
      const bytes = sendableBytes(what);
      send(connection, typeof what === 'string', bytes, 0, bytes.length);
    }
  }

  close(code: number = CloseCode.NormalClosure, reason = ''): void {
    // RFC 6455 §7.4.1 [7.4.1-4]: reserved codes must not be sent.
    if (!isSendableCloseCode(code) || (code < 3000 && code !== CloseCode.NormalClosure))
      throw new RangeError(`close code ${code} is not allowed: use 1000, or 3000 to 4999`);
    const connection = this.#connection;
    const closeNow = () => {
      if (connection.handler !== this.#module.handler) return;
      noteEnding(
        connection,
        'server',
        `the handler ${this.#module.name} closed the connection with ${code}${reason && `: ${reason}`}`,
      );
      closeConnection(connection, code, String(reason));
    };
    if (isDeferring()) defer(closeNow);
    else closeNow();
  }

  join(group: string): void {
    if (isDeferring()) this.#deferMembership(group, true, () => this.#joinNow(group));
    else this.#joinNow(group);
  }

  #deferMembership(group: string, isMember: boolean, effect: () => void): void {
    const { groups, handler } = this.#module;
    const connection = this.#connection;
    if (connection.handler === handler) deferMembership({ groups, group, connection, isMember }, effect);
  }

  #joinNow(name: string): void {
    const { groups, handler } = this.#module;
    if (this.#connection.handler !== handler) return;
    const group = groups.get(name) ?? newGroup();
    groups.set(name, group);
    this.groups ??= new Set();
    this.groups.add(name);
    join(group, this.#connection);
  }

  leave(group: string): void {
    if (isDeferring()) this.#deferMembership(group, false, () => this.leaveNow(group));
    else this.leaveNow(group);
  }

  leaveNow(name: string): void {
    const { groups } = this.#module;
    const group = groups.get(name);
    if (group === undefined) return;
    this.groups?.delete(name);
    leave(group, this.#connection);
    if (group.members.size === 0) groups.delete(name);
  }

  leaveAll(): void {
    for (const name of this.groups ?? []) this.leaveNow(name);
  }
}

/** The server's record of the connection; modules cannot reach it. */
export const { connectionOf } = Peer;

/** A connection as a module's wire sees it. */
export class WirePeer implements user.WireConnection {
  readonly id: number;
  data: unknown = undefined;
  readonly #connection: Connection;
  readonly #end: () => void;

  /** @param end flushes the output and ends the connection */
  constructor(connection: Connection, end: () => void) {
    this.id = connection.id;
    this.#connection = connection;
    this.#end = end;
  }

  get address(): string {
    return this.#connection.address;
  }

  get isOpen(): boolean {
    return this.#connection.phase === 'open' && this.#connection.data === this;
  }

  send(what: string | Uint8Array): void {
    const bytes = sendableBytes(what);
    if (!isDeferring()) return this.#sendNow(bytes);
    const copied = Buffer.from(bytes);
    defer(() => this.#sendNow(copied));
  }

  #sendNow(bytes: Uint8Array): void {
    if (this.isOpen) sendFunctionFor(this.#connection)(this.#connection, false, bytes, 0, bytes.length);
  }

  end(): void {
    const endNow = () => {
      if (this.isOpen) this.#end();
    };
    if (isDeferring()) defer(endNow);
    else endNow();
  }
}

/** The `server` that a module's functions get. */
export function newModuleServer(
  { peers, groups, log: lines }: Pick<ModuleContext, 'peers' | 'groups' | 'log'>,
  channels: user.Channels,
): user.Server {
  function publishNow(name: string, message: user.Sendable, except: user.Connection | undefined): void {
    const group = groups.get(name);
    if (group === undefined) return;
    const members = membersOf(group);
    const excluded = except === undefined ? undefined : connectionOf(except as Peer);
    if (message instanceof ScopedMessage) {
      sendToAll(members, excluded, message.content());
    } else {
      const bytes = sendableBytes(message);
      sendToAll(members, excluded, wholeMessage(typeof message === 'string', bytes));
    }
  }

  return {
    state: undefined,
    connections: peers,
    publish(group, message, except) {
      if (!isDeferring()) return publishNow(group, message, except);
      const copied = snapshot(message);
      defer(() => publishNow(group, copied, except));
    },
    members(group) {
      const members = groups.get(group)?.members;
      let count = members?.size ?? 0;
      if (!isDeferring()) return count;
      for (const [connection, isMember] of deferredMembers(groups, group)) {
        const wasMember = members?.has(connection) ?? false;
        count += Number(isMember) - Number(wasMember);
      }
      return count;
    },
    channels,
    log: lines,
  };
}

/**
 * The module's log. A script's types are not checked and its values may come from a peer: no value can start a line of its
 * own, or replace one of the server's fields.
 */
export function newModuleLog(handler: string): user.Log {
  const line =
    (level: LogLevel) =>
    (event: string, fields: user.LogFields = {}) => {
      const own = Object.entries(fields).filter(
        ([name]) => /^\w+$/.test(name) && !reservedFields.includes(name),
      );
      const shown = own.map(([name, value]) => [name, shownValue(value)]);
      log(level, printableLine(String(event)), { handler, ...Object.fromEntries(shown) });
    };
  return { error: line('error'), warn: line('warn'), info: line('info'), debug: line('debug') };
}

const reservedFields = ['time', 'level', 'event', 'handler'];

function shownValue(value: unknown): string | number | boolean | undefined {
  const isPlain = value === undefined || ['string', 'number', 'boolean'].includes(typeof value);
  return isPlain ? (value as string) : String(value);
}
