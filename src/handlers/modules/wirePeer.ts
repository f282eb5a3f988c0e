/** A connection as a wire of the user's sees it. */
import type { Connection } from '../../core/connection.ts';
import { senderFor } from './asking.ts';
import { isTrial, keepBack } from './effects.ts';
import type * as user from './interface.ts';
import { bytesOf } from './sendable.ts';

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
