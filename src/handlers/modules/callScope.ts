/**
 * What is bound to one call of a module: the message it is given, the connection whose message it handles, and, during the
 * rollback window, the effects of the call.
 */

import { areMessagesPaused } from '../../core/connection.ts';
import { sendPush } from '../../core/fanout.ts';
import { sendMessage } from '../../core/send.ts';
import type { Message } from '../../protocol/websocket/message.ts';
import { messageBytes, messageText } from '../../protocol/websocket/message.ts';
import type { Connection } from '../../records/records.ts';
import type * as user from './interface.ts';

/** Effects of the current call, in order; `undefined` while effects happen at once. */
let deferred: (() => void)[] | undefined;

/** Whether sends, closes and joins wait until the current call has returned. */
export function isDeferring(): boolean {
  return deferred !== undefined;
}

/** Runs `effect` when the current call has returned. The caller has checked everything that could make it throw. */
export function defer(effect: () => void): void {
  deferred?.push(effect);
}

/** A deferred join or leave. During the call, `members` already counts it. */
interface DeferredMembership {
  /** The groups of the module. */
  readonly groups: object;
  readonly group: string;
  readonly connection: Connection;
  readonly isMember: boolean;
}

/** The deferred joins and leaves of the current call, in order. */
const memberships: DeferredMembership[] = [];

/** Defers a join or leave. @param effect as for `defer` */
export function deferMembership(membership: DeferredMembership, effect: () => void): void {
  memberships.push(membership);
  defer(effect);
}

/** The connections whose join or leave of this group is deferred, and whether each will be a member. */
export function deferredMembers(groups: object, group: string): ReadonlyMap<Connection, boolean> {
  const own = memberships.filter(one => one.groups === groups && one.group === group);
  return new Map(own.map(({ connection, isMember }) => [connection, isMember]));
}

/**
 * Calls `act` and runs its effects afterwards, or, if calls are nested, after the outermost one. If `act` throws, none of
 * its effects happen: the previous version can handle the same message, and no client gets an answer twice.
 */
export function deferEffects<T>(act: () => T): T {
  const outer = deferred;
  const effects: (() => void)[] = [];
  const before = memberships.length;
  deferred = effects;
  let hasReturned = false;
  let result: T;
  try {
    result = act();
    hasReturned = true;
  } finally {
    deferred = outer;
    if (!hasReturned || outer === undefined) memberships.length = before;
  }
  if (outer !== undefined) outer.push(...effects);
  else for (const effect of effects) effect();
  return result;
}

/** The connection whose message is being handled. */
let currentSender: Connection | undefined;

export function setCurrentSender(connection: Connection | undefined): void {
  currentSender = connection;
}

/**
 * A reply to the current sender is bounded by backpressure: a peer that does not read its replies is not read from.
 * Messages to other connections are pushes, which `--max-buffered` bounds.
 */
export function sendFunctionFor(connection: Connection): typeof sendMessage {
  return connection === currentSender || areMessagesPaused(connection) ? sendMessage : sendPush;
}

/** The message as a module sees it: a view of the input buffer, which decodes nothing until the module asks for it. */
export class ScopedMessage implements user.Message {
  isText = false;
  size = 0;
  #message: Message | undefined;

  /** @param message valid until `expire` */
  assign(message: Message): void {
    this.#message = message;
    this.isText = message.isText;
    this.size = message.end - message.start;
  }

  expire(): void {
    this.#message = undefined;
  }

  /** Copies the bytes, so that the message can outlive the call. */
  detach(): Message {
    const { isText } = this.content();
    const bytes = this.copy();
    this.#message = { isText, bytes, start: 0, end: bytes.length };
    return this.#message;
  }

  /** @throws Error after the call has ended */
  content(): Message {
    if (this.#message === undefined)
      throw new Error(
        'this message has expired: it is valid during the call only; keep its text() or copy()',
      );
    return this.#message;
  }

  text(): string {
    return messageText(this.content());
  }

  copy(): Buffer {
    return messageBytes(this.content());
  }

  bytes(): Buffer {
    const { bytes, start, end } = this.content();
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  }
}

/** @throws TypeError for anything but a string, bytes or a message */
export function sendableBytes(what: unknown): Uint8Array {
  if (typeof what === 'string') return Buffer.from(what);
  if (what instanceof Uint8Array) return what;
  throw new TypeError(
    `cannot send ${what === null ? 'null' : typeof what}: pass a string, bytes or a message`,
  );
}

/** Copies bytes, so that the module cannot change them before they are sent. @throws TypeError as `sendableBytes` */
export function snapshot(what: user.Sendable): user.Sendable {
  if (what instanceof ScopedMessage || typeof what === 'string') return what;
  return Buffer.from(sendableBytes(what));
}
