/** Who asked for what is sent, and who is merely told. */
import type { Connection } from '../../core/connection.ts';
import { areMessagesPaused } from '../../core/processData.ts';
import { sendMessage, sendPush } from '../../core/send.ts';

/** Whose message is being handled. */
let asking: Connection | undefined;

export function setAsking(connection: Connection | undefined): void {
  asking = connection;
}

/** Answers are bounded by this: who does not read them is not read from. What nobody asked for needs a bound of its own. */
export function senderFor(connection: Connection): typeof sendMessage {
  return connection === asking || areMessagesPaused(connection) ? sendMessage : sendPush;
}
