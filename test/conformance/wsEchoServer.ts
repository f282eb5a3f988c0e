/** An echo server with npm's ws. Prints its port. */
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: true, maxPayload: 0 });
server.on('connection', socket => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => socket.send(data as Buffer, { binary: isBinary }));
});
server.on('listening', () => console.log((server.address() as AddressInfo).port));
