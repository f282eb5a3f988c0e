import type { Handler } from '../connection/handler.ts';
import { join, leave, newGroup, publish } from './group.ts';

/** Every message goes to all connections of this handler: to its sender, too, if `includeSender`. */
export function newBroadcastHandler(includeSender: boolean): Handler {
  const everyone = newGroup();
  return {
    name: 'broadcast',
    opened(connection) {
      join(everyone, connection);
    },
    message(connection, message) {
      publish(everyone, message, includeSender ? undefined : connection);
    },
    closed(connection) {
      leave(everyone, connection);
    },
  };
}
