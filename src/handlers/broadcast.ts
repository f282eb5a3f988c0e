/** The `broadcast` handler sends every message to all of its connections; with `--no-self`, to all but the sender. */

import { join, leave, newGroup, publishToGroup } from '../core/fanout.ts';
import type { Handler } from '../records/records.ts';

export function newBroadcastHandler(): Handler {
  const everyone = newGroup();
  return {
    name: 'broadcast',
    opened(connection) {
      join(everyone, connection);
    },
    message(connection, message) {
      const { includeSender } = connection.server.configuration;
      publishToGroup(everyone, message, { except: includeSender ? undefined : connection, isKept: true });
    },
    closed(connection) {
      leave(everyone, connection);
    },
  };
}
