/** Echo as a module of one's own, to be held against the built-in one. */
import type { Handler } from '../../../src/handlers/modules/interface.ts';

const relay: Handler = {
  message(connection, message) {
    connection.send(message);
  },
};

export default relay;
