/** The `echo` handler sends every message back to its sender, unchanged. */

import { sendMessage } from '../core/send.ts';
import type { Handler } from '../records/records.ts';

export const echo: Handler = {
  name: 'echo',
  message(connection, message) {
    sendMessage(connection, message.isText, message.bytes, message.start, message.end);
  },
};
