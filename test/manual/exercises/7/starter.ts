/**
 * Exercise 7: the subprotocol `sum.v1`, in which clients add numbers.
 *
 * A binary message has one packet or several, one after another. All numbers take four bytes, little-endian:
 *
 *     size   of the whole packet in bytes
 *     cmd
 *     value  signed; only in packets of 12 bytes
 *
 *     cmd    from the client         size   answer
 *     1      ADD: add the value      12     none
 *     2      TOTAL: ask for the sum  8      a packet with cmd 3 and the sum as its value, in a binary message
 *     other                          any    a packet of 8 bytes with cmd 4, in a binary message
 *
 * Each connection has a sum of its own, `connection.data`, which begins with 0. No test adds more than fits into four bytes.
 *
 * Clients lie. Close the connection with 4400 and a reason for a text message, for a packet whose size is less than 8 or more
 * than the rest of the message, and for an ADD or TOTAL of the wrong size. Do not read beyond the message.
 */
import type { Handler } from '../../../../src/handlers/modules/interface.ts';

const sum: Handler<number> = {
  name: 'sum.v1',

  opened(connection) {
    connection.data = 0;
  },

  message(_connection, _message) {
    // Rename the parameters to `connection` and `message`; the `_` tells the compiler that they are not used yet.
    // `message.isText` is true for a text. `const bytes = message.bytes()` is a Buffer with the whole message. It has
    // `bytes.length`, and `bytes.readInt32LE(at)` throws an error if it would read beyond the end.
    // `const answer = Buffer.alloc(12)` makes a Buffer of zeros, and `answer.writeInt32LE(value, at)` writes into it.
    // `connection.send(answer)` sends a binary message, `connection.close(code, reason)` starts the closing handshake.
  },
};

export default sum;
