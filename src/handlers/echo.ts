import type { Handler } from '../core/handler.ts';
import { sendMessage } from '../core/send.ts';

/** Every message goes back to whoever sent it, as it came. */
export const echo: Handler = {
  name: 'echo',
  message(connection, message) {
    sendMessage(connection, message.isText, message.bytes, message.start, message.end);
  },
};
