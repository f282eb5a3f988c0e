/** A solution of exercise 7. */
import type { Connection, Handler } from '../../../../src/handlers/modules/interface.ts';

const headerSize = 8;
const sizeWithValue = 12;

const command = { add: 1, total: 2, isTotal: 3, unknown: 4 } as const;

const sum: Handler<number> = {
  name: 'sum.v1',

  opened(connection) {
    connection.data = 0;
  },

  message(connection, message) {
    if (message.isText) return connection.close(4400, 'packets must be binary messages');
    const bytes = message.bytes();
    for (let at = 0; at < bytes.length; ) {
      const left = bytes.length - at;
      const size = left < headerSize ? 0 : bytes.readUInt32LE(at);
      if (size < headerSize || size > left) return connection.close(4400, 'a packet has a wrong size');
      if (!processPacket(connection, bytes.subarray(at, at + size)))
        return connection.close(4400, 'a command has a wrong size');
      at += size;
    }
  },
};

/** @returns false if the packet does not have the size of its command */
function processPacket(connection: Connection<number>, packet: Buffer): boolean {
  const cmd = packet.readInt32LE(4);
  if (cmd === command.add) {
    if (packet.length !== sizeWithValue) return false;
    connection.data = (connection.data + packet.readInt32LE(headerSize)) | 0;
  } else if (cmd === command.total) {
    if (packet.length !== headerSize) return false;
    sendPacket(connection, sizeWithValue, command.isTotal, connection.data);
  } else sendPacket(connection, headerSize, command.unknown);
  return true;
}

function sendPacket(connection: Connection<number>, size: number, cmd: number, value = 0): void {
  const packet = Buffer.alloc(sizeWithValue);
  packet.writeInt32LE(size, 0);
  packet.writeInt32LE(cmd, 4);
  packet.writeInt32LE(value, headerSize);
  connection.send(packet.subarray(0, size));
}

export default sum;
