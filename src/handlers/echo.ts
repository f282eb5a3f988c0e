/** The `echo` handler sends every message back to its sender, unchanged. */

import { sendMessage, sendUncopied } from '../core/send.ts';
import { slotSize } from '../records/arena.ts';
import type { Handler } from '../records/records.ts';

export const echo: Handler = {
  name: 'echo',
  message(connection, message) {
    const { isText, bytes, start, end } = message;
    const isLong = end - start > slotSize;
    if (!isLong || !sendUncopied(connection, message)) sendMessage(connection, isText, bytes, start, end);
  },
};
