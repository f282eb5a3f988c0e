/** The `echo` handler sends every message back to its sender, unchanged. */

import { sendBack } from '../core/send.ts';
import type { Handler } from '../records/records.ts';

export const echo: Handler = {
  name: 'echo',
  message(connection, message) {
    sendBack(connection, message);
  },
};
