/** What is made of messages: lines in, lines out. The chat has another one. */
import type { Message } from '../protocol/websocket/message.ts';
import type { Output } from './output.ts';
import { type Session, sendMessage } from './session.ts';

export interface Dialect {
  /** A connection is open. */
  opened(session: Session): void;
  /** Whether what is read from stdin can be said now; until it is, the session is woken when it may have become so. */
  isReady(): boolean;
  /** Says a line, or a text, which is UTF-8. */
  say(session: Session, text: Buffer): void;
  /** Prints a message, which is lent. @returns how many lines that made: what `--count` counts */
  hear(session: Session, message: Message): number;
}

/** Each text is a message, each message is printed. */
export function newPlainDialect(output: Output): Dialect {
  return {
    opened() {},
    isReady: () => true,
    say: (session, text) => sendMessage(session, true, text),
    hear(_, message) {
      output.message(message);
      return 1;
    },
  };
}
