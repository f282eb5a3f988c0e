/**
 * What a version does while it is on probation takes effect when its call has returned: of a call that throws, nothing was
 * sent. The version before is given the same message then, and nobody hears anything twice.
 */
import type { Connection } from '../../core/connection.ts';
import { areMessagesPaused } from '../../core/processData.ts';
import { sendMessage, sendPush } from '../../core/send.ts';
import { type Message, messageBytes, messageText } from '../../protocol/websocket/message.ts';
import type * as user from './interface.ts';

let kept: (() => void)[] | undefined;

/** Whether effects are kept back at present. */
export function isTrial(): boolean {
  return kept !== undefined;
}

/** For when the call has returned. Whatever can fail has to have been checked. */
export function keepBack(effect: () => void): void {
  kept?.push(effect);
}

/** Calls, and then lets all effects happen, or, within another such call, with its own; or throws what it throws, and there are none. */
export function withoutEffects<T>(act: () => T): T {
  const outer = kept;
  const effects: (() => void)[] = [];
  kept = effects;
  let result: T;
  try {
    result = act();
  } finally {
    kept = outer;
  }
  if (outer !== undefined) outer.push(...effects);
  else for (const effect of effects) effect();
  return result;
}

/** Who asked for what is sent, and who is merely told. */

/** Whose message is being handled. */
let asking: Connection | undefined;

export function setAsking(connection: Connection | undefined): void {
  asking = connection;
}

/** Answers are bounded by this: who does not read them is not read from. What nobody asked for needs a bound of its own. */
export function senderFor(connection: Connection): typeof sendMessage {
  return connection === asking || areMessagesPaused(connection) ? sendMessage : sendPush;
}

/** The message as a module is given it: a view of the bytes where they lie, which costs nothing until it is asked. */

export class LentMessage implements user.Message {
  isText = false;
  size = 0;
  #message: Message | undefined;

  /** @param message good for as long as this is lent */
  lend(message: Message): void {
    this.#message = message;
    this.isText = message.isText;
    this.size = message.end - message.start;
  }

  giveBack(): void {
    this.#message = undefined;
  }

  /** It outlives the call: from here on it has bytes of its own. */
  keep(): Message {
    const { isText } = this.inner();
    const bytes = this.copy();
    this.#message = { isText, bytes, start: 0, end: bytes.length };
    return this.#message;
  }

  /** @throws Error where it is not lent any more */
  inner(): Message {
    if (this.#message === undefined)
      throw new Error('the message is gone: it is lent for the call; keep its text() or copy() instead');
    return this.#message;
  }

  text(): string {
    return messageText(this.inner());
  }

  copy(): Buffer {
    return messageBytes(this.inner());
  }

  bytes(): Buffer {
    const { bytes, start, end } = this.inner();
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  }
}

/** What a module may send. */

/** @throws TypeError for what cannot be sent */
export function bytesOf(what: unknown): Uint8Array {
  if (typeof what === 'string') return Buffer.from(what);
  if (what instanceof Uint8Array) return what;
  throw new TypeError(
    `a string, bytes or a message can be sent, not ${what === null ? 'null' : typeof what}`,
  );
}

/** The same, but nobody can change it any more. @throws TypeError likewise */
export function lasting(what: user.Sendable): user.Sendable {
  if (what instanceof LentMessage || typeof what === 'string') return what;
  return Buffer.from(bytesOf(what));
}
