/** The floor: a plain TCP echo on node:net. No frames, no handshake. */
import { type AddressInfo, createServer } from 'node:net';

const server = createServer({ noDelay: true }, socket => {
  socket.on('data', bytes => socket.write(bytes));
  socket.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(JSON.stringify({ port, pid: process.pid }));
});
