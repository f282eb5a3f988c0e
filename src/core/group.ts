/** Connections that are spoken to together. */

import type { Message } from '../protocol/websocket/message.ts';
import type { Connection } from './connection.ts';
import { sendToAll } from './send.ts';

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

/** In the order they came. */
export function membersOf(group: Group): readonly Connection[] {
  group.list ??= [...group.members];
  return group.list;
}

/** Sends the message to all members. */
export function publishToGroup(
  group: Group,
  { isText, bytes, start, end }: Message,
  except?: Connection,
): void {
  sendToAll(membersOf(group), except, isText, bytes, start, end);
}
