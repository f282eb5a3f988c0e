/** An echo as a module of the user's, for comparison with the built-in one. */
import type { Handler } from '../../../src/handlers/modules/interface.ts';

const relay: Handler = {
  message(connection, message) {
    connection.send(message);
  },
};

export default relay;
