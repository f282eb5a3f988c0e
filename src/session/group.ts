/** Connections that are spoken to together. */
import type { Connection } from '../connection/connection.ts';
import { sendToAll } from '../connection/send.ts';
import type { Message } from '../protocol/message.ts';

export interface Group {
  readonly members: Set<Connection>;
  /** The same as a list, which is faster to go through; made anew after members came or left. */
  list: readonly Connection[] | undefined;
}

export function newGroup(): Group {
  return { members: new Set(), list: undefined };
}

export function join(group: Group, connection: Connection): void {
  group.members.add(connection);
  group.list = undefined;
}

export function leave(group: Group, connection: Connection): void {
  if (group.members.delete(connection)) group.list = undefined;
}

/** Sends the message to all members, in the order they came. */
export function publish(group: Group, message: Message, except?: Connection): void {
  group.list ??= [...group.members];
  sendToAll(group.list, except, message.isText, message.bytes, message.start, message.end);
}
