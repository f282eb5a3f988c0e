import { join, leave, newGroup, publishToGroup } from '../core/group.ts';
import type { Handler } from '../core/handler.ts';

/** Every message goes to all connections of this handler: not to its sender with `--no-self`. */
export function newBroadcastHandler(): Handler {
  const everyone = newGroup();
  return {
    name: 'broadcast',
    opened(connection) {
      join(everyone, connection);
    },
    message(connection, message) {
      const { includeSender } = connection.server.configuration;
      publishToGroup(everyone, message, includeSender ? undefined : connection);
    },
    closed(connection) {
      leave(everyone, connection);
    },
  };
}
