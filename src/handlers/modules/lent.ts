/** The message as a module is given it: a view of the bytes where they lie, which costs nothing until it is asked. */
import type { Message } from '../../protocol/websocket/message.ts';
import { messageBytes, messageText } from '../../protocol/websocket/message.ts';
import type * as user from './interface.ts';

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
