/** A connection as a handler of the user's sees it: one object for as long as it lasts. */
import type { Connection } from '../../core/connection.ts';
import { join, leave, newGroup } from '../../core/group.ts';
import { noteEnding } from '../../diagnostics/closeReason.ts';
import { CloseCode, isSendableCloseCode } from '../../protocol/codes.ts';
import { splitList } from '../../protocol/http/fields.ts';
import type { Head } from '../../protocol/http/head.ts';
import { senderFor } from './asking.ts';
import { isTrial, keepBack } from './effects.ts';
import type * as user from './interface.ts';
import { LentMessage } from './lent.ts';
import { bytesOf, lasting } from './sendable.ts';
import type { Slot } from './slot.ts';

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
