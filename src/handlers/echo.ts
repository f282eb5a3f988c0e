/** The `echo` handler sends every message back to its sender, unchanged. */

import type { Handler } from '../core/records.ts';
import { sendMessage } from '../core/send.ts';

export const echo: Handler = {
  name: 'echo',
  message(connection, message) {
    sendMessage(connection, message.isText, message.bytes, message.start, message.end);
  },
};
