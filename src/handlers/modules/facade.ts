/** A connection as a handler of the user's sees it: one object for as long as it lasts. */
import type { Connection } from '../../core/connection.ts';
import { join, leave, membersOf, newGroup } from '../../core/group.ts';
import { sendToAll } from '../../core/send.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { type LogLevel, log } from '../../log/log.ts';
import { printableLine } from '../../log/printable.ts';
import { CloseCode, isSendableCloseCode } from '../../protocol/codes.ts';
import { splitList } from '../../protocol/http/fields.ts';
import type { Head } from '../../protocol/http/head.ts';
import { bytesOf, isTrial, keepBack, LentMessage, lasting, senderFor } from './callScope.ts';
import type * as user from './interface.ts';
import type { Slot } from './module.ts';

export class Peer implements user.Connection {
  readonly id: number;
  data: unknown = undefined;
  /** Groups it is in; made when it joins one. */
  groups: Set<string> | undefined;
  readonly #connection: Connection;
  readonly #request: Head;
  readonly #slot: Slot;

  constructor(connection: Connection, request: Head, slot: Slot) {
    this.id = connection.id;
    this.#connection = connection;
    this.#request = request;
    this.#slot = slot;
  }

  static connectionOf(peer: Peer): Connection {
    return peer.#connection;
  }

  get address(): string {
    return this.#connection.address;
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
    return asked.find(name => this.#slot.owner.handlers.get(name) === this.#slot.handler);
  }

  get isOpen(): boolean {
    const { phase, endpoint, handler } = this.#connection;
    return phase === 'open' && endpoint?.state === 'OPEN' && handler === this.#slot.handler;
  }

  send(message: user.Sendable): void {
    if (isTrial()) {
      const kept = lasting(message);
      keepBack(() => this.#sendNow(kept));
    } else {
      this.#sendNow(message);
    }
  }

  #sendNow(what: user.Sendable): void {
    const connection = this.#connection;
    // Its id, and its record, may be someone else's by now.
    if (connection.handler !== this.#slot.handler) return;
    const send = senderFor(connection);
    if (what instanceof LentMessage) {
      const { isText, bytes, start, end } = what.inner();
      send(connection, isText, bytes, start, end);
    } else {
      const bytes = bytesOf(what);
      send(connection, typeof what === 'string', bytes, 0, bytes.length);
    }
  }

  close(code: number = CloseCode.NormalClosure, reason = ''): void {
    if (!isSendableCloseCode(code) || (code < 3000 && code !== CloseCode.NormalClosure))
      throw new RangeError(`a module may close with 1000, or 3000 to 4999, not ${code}`);
    const connection = this.#connection;
    const closeNow = () => {
      if (connection.handler !== this.#slot.handler) return;
      noteEnding(
        connection,
        'server',
        `the handler ${this.#slot.name} closed it with ${code}${reason && `: ${reason}`}`,
      );
      connection.wire.close(connection, code, String(reason));
    };
    if (isTrial()) keepBack(closeNow);
    else closeNow();
  }

  join(group: string): void {
    if (isTrial()) keepBack(() => this.#joinNow(group));
    else this.#joinNow(group);
  }

  #joinNow(name: string): void {
    const { groups, handler } = this.#slot;
    if (this.#connection.handler !== handler) return;
    const group = groups.get(name) ?? newGroup();
    groups.set(name, group);
    this.groups ??= new Set();
    this.groups.add(name);
    join(group, this.#connection);
  }

  leave(group: string): void {
    if (isTrial()) keepBack(() => this.leaveNow(group));
    else this.leaveNow(group);
  }

  leaveNow(name: string): void {
    const { groups } = this.#slot;
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

/** For the rest of the server. */
export const { connectionOf } = Peer;

/** A connection as a wire of the user's sees it. */

export class WirePeer implements user.WireConnection {
  readonly id: number;
  data: unknown = undefined;
  readonly #connection: Connection;
  readonly #end: () => void;

  /** @param end ends the connection in good order */
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
    const bytes = bytesOf(what);
    if (!isTrial()) return this.#sendNow(bytes);
    const kept = Buffer.from(bytes);
    keepBack(() => this.#sendNow(kept));
  }

  #sendNow(bytes: Uint8Array): void {
    if (this.isOpen) senderFor(this.#connection)(this.#connection, false, bytes, 0, bytes.length);
  }

  end(): void {
    const endNow = () => {
      if (this.isOpen) this.#end();
    };
    if (isTrial()) keepBack(endNow);
    else endNow();
  }
}

/** What a module sees of the server: its state, its connections and groups, and its log. */

export function newModuleServer({
  peers,
  groups,
  log: lines,
}: Pick<Slot, 'peers' | 'groups' | 'log'>): user.Server {
  function publishNow(name: string, message: user.Sendable, except: user.Connection | undefined): void {
    const group = groups.get(name);
    if (group === undefined) return;
    const members = membersOf(group);
    const left = except === undefined ? undefined : connectionOf(except as Peer);
    if (message instanceof LentMessage) {
      const { isText, bytes, start, end } = message.inner();
      sendToAll(members, left, isText, bytes, start, end);
    } else {
      const bytes = bytesOf(message);
      sendToAll(members, left, typeof message === 'string', bytes, 0, bytes.length);
    }
  }

  return {
    state: undefined,
    connections: peers,
    publish(group, message, except) {
      if (!isTrial()) return publishNow(group, message, except);
      const kept = lasting(message);
      keepBack(() => publishNow(group, kept, except));
    },
    members: group => groups.get(group)?.members.size ?? 0,
    log: lines,
  };
}

/**
 * Each line has the module's name. What it is given may be anything, as nobody checks a script's types, and may come from
 * a peer: it does not become a line of its own, nor a field of ours.
 */
export function newModuleLog(handler: string): user.Log {
  const line =
    (level: LogLevel) =>
    (event: string, fields: user.LogFields = {}) => {
      const theirs = Object.entries(fields).filter(
        ([name]) => /^\w+$/.test(name) && !ourFields.includes(name),
      );
      const shown = theirs.map(([name, value]) => [name, shownValue(value)]);
      log(level, printableLine(String(event)), { handler, ...Object.fromEntries(shown) });
    };
  return { error: line('error'), warn: line('warn'), info: line('info'), debug: line('debug') };
}

const ourFields = ['time', 'level', 'event', 'handler'];

function shownValue(value: unknown): string | number | boolean | undefined {
  const isPlain = value === undefined || ['string', 'number', 'boolean'].includes(typeof value);
  return isPlain ? (value as string) : String(value);
}
